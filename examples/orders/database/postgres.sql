-- The shop's tables; the outbox and the inbox keep theirs beside them.

create table if not exists customer_order (
    id          uuid primary key,
    customer    text not null,
    total_cents bigint not null,
    status      text not null          -- placed, confirmed or cancelled
);

-- Which messages an order gave rise to.
create table if not exists order_message (
    message_id uuid primary key,
    order_id   uuid not null references customer_order (id)
);

-- The consumer's tables. It would be another service, with a database of its own. That a message is worked on once is
-- not for these tables to see to: the inbox does.

create table if not exists work (
    seq            bigint generated always as identity primary key,
    message_id     uuid not null,
    order_id       uuid not null,
    message_type   text not null,
    what           text not null,
    correlation_id text not null,
    causation_id   text not null,
    record         text not null
);

create index if not exists work_by_order on work (order_id, seq);
create index if not exists work_by_message on work (message_id);

create table if not exists refused_record (
    record     text primary key, -- topic/partition@offset
    why        text not null,
    record_key bytea,
    headers    text not null,
    value      bytea not null
);
