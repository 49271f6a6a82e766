-- The example's own tables; the outbox keeps its tables beside them, and neither knows of the other.

create table if not exists appointment (
    id         text primary key,
    name       text not null,
    email      text not null,
    starts_at  text not null,              -- RFC 3339, UTC
    ends_at    text not null,
    notes      text not null,
    sequence   integer not null default 0, -- raised by every change, as calendars demand (RFC 5546)
    cancelled  integer not null default 0
) strict;

-- Which messages an appointment gave rise to, one row for each of its versions.
create table if not exists appointment_message (
    appointment_id text not null references appointment (id),
    sequence       integer not null,
    method         text not null,          -- REQUEST or CANCEL
    message_id     text not null unique,
    primary key (appointment_id, sequence)
) strict, without rowid;

-- The first answer to each Idempotency-Key, so that a repeated POST gets it again.
create table if not exists booking_request (
    idempotency_key text primary key,
    fingerprint     blob not null,         -- SHA-256 of the request, to tell a repetition from a mistake
    appointment_id  text not null,         -- written first: whoever comes second waits for it
    message_id      text not null,
    created_at      integer not null       -- seconds since 1970
) strict, without rowid;

create index if not exists booking_request_by_age on booking_request (created_at);
