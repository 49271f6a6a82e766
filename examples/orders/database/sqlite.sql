-- The shop's tables; the outbox and the inbox keep theirs beside them.

create table if not exists customer_order (
    id          text primary key,
    customer    text not null,
    total_cents integer not null,
    status      text not null          -- placed, confirmed or cancelled
) strict;

-- Which messages an order gave rise to.
create table if not exists order_message (
    message_id text primary key,
    order_id   text not null references customer_order (id)
) strict, without rowid;

-- The consumer's tables. It would be another service, with a database of its own. That a message is worked on once is
-- not for these tables to see to: the inbox does.

create table if not exists work (
    seq            integer primary key,
    message_id     text not null,
    order_id       text not null,
    message_type   text not null,
    what           text not null,
    correlation_id text not null,
    causation_id   text not null,
    record         text not null
) strict;

create index if not exists work_by_order on work (order_id, seq);
create index if not exists work_by_message on work (message_id);

create table if not exists refused_record (
    record     text primary key,          -- topic/partition@offset
    why        text not null,
    record_key blob,
    headers    text not null,
    value      blob not null
) strict, without rowid;
