-- The example's own tables; the outbox keeps its tables beside them, and neither knows of the other.

create table if not exists appointment (
    id         uuid primary key,
    name       text not null,
    email      text not null,
    starts_at  timestamptz not null,
    ends_at    timestamptz not null,
    notes      text not null,
    sequence   bigint not null default 0, -- raised by every change, as calendars demand (RFC 5546)
    cancelled  boolean not null default false
);

-- Which messages an appointment gave rise to, one row for each of its versions.
create table if not exists appointment_message (
    appointment_id uuid not null references appointment (id),
    sequence       bigint not null,
    method         text not null,         -- REQUEST or CANCEL
    message_id     uuid not null unique,
    primary key (appointment_id, sequence)
);

-- The first answer to each Idempotency-Key, so that a repeated POST gets it again.
create table if not exists booking_request (
    idempotency_key text primary key,
    fingerprint     bytea not null,       -- SHA-256 of the request, to tell a repetition from a mistake
    appointment_id  uuid not null,        -- written first: whoever comes second waits for it
    message_id      uuid not null,
    created_at      bigint not null       -- seconds since 1970
);

create index if not exists booking_request_by_age on booking_request (created_at);
