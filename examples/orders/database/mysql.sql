-- The shop's tables; the outbox and the inbox keep theirs beside them.

create table if not exists customer_order (
    id          char(36) character set ascii collate ascii_bin primary key,
    customer    varchar(200) not null,
    total_cents bigint not null,
    status      varchar(16) not null   -- placed, confirmed or cancelled
) engine = innodb, character set utf8mb4, collate utf8mb4_bin;

-- Which messages an order gave rise to.
create table if not exists order_message (
    message_id char(36) character set ascii collate ascii_bin primary key,
    order_id   char(36) character set ascii collate ascii_bin not null,
    foreign key (order_id) references customer_order (id)
) engine = innodb, character set utf8mb4, collate utf8mb4_bin;

-- The consumer's tables. It would be another service, with a database of its own. That a message is worked on once is
-- not for these tables to see to: the inbox does.

create table if not exists work (
    seq            bigint auto_increment primary key,
    message_id     char(36) character set ascii collate ascii_bin not null,
    order_id       char(36) character set ascii collate ascii_bin not null,
    message_type   varchar(255) not null,
    what           text not null,
    correlation_id varchar(255) not null,
    causation_id   varchar(255) not null,
    record         varchar(300) not null,
    index work_by_order (order_id, seq),
    index work_by_message (message_id)
) engine = innodb, character set utf8mb4, collate utf8mb4_bin;

create table if not exists refused_record (
    record     varchar(300) character set ascii collate ascii_bin primary key, -- topic/partition@offset
    why        text not null,
    record_key longblob,
    headers    longtext not null,
    value      longblob not null
) engine = innodb, character set utf8mb4, collate utf8mb4_bin;
