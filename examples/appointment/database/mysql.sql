-- The example's own tables; the outbox keeps its tables beside them, and neither knows of the other.

create table if not exists appointment (
    id        char(36) character set ascii collate ascii_bin primary key,
    name      varchar(200) not null,
    email     varchar(320) not null,
    starts_at datetime not null,
    ends_at   datetime not null,
    notes     text not null,
    sequence  int unsigned not null default 0, -- raised by every change, as calendars demand (RFC 5546)
    cancelled boolean not null default false
) engine = innodb, character set utf8mb4, collate utf8mb4_bin;

-- Which messages an appointment gave rise to, one row for each of its versions.
create table if not exists appointment_message (
    appointment_id char(36) character set ascii collate ascii_bin not null,
    sequence       int unsigned not null,
    method         varchar(16) not null,       -- REQUEST or CANCEL
    message_id     char(36) character set ascii collate ascii_bin not null unique,
    primary key (appointment_id, sequence),
    foreign key (appointment_id) references appointment (id)
) engine = innodb, character set utf8mb4, collate utf8mb4_bin;

-- The first answer to each Idempotency-Key, so that a repeated POST gets it again.
create table if not exists booking_request (
    idempotency_key varbinary(255) primary key,
    fingerprint     varbinary(32) not null,    -- SHA-256 of the request, to tell a repetition from a mistake
    appointment_id  char(36) character set ascii collate ascii_bin not null, -- written first: the second waits for it
    message_id      char(36) character set ascii collate ascii_bin not null,
    created_at      bigint not null,           -- seconds since 1970
    index booking_request_by_age (created_at)
) engine = innodb, character set utf8mb4, collate utf8mb4_bin;
