-- Fresh messages of transactions that were running at the last snapshot and are not running any more: $1, without
-- those up to place $3 of transaction $2; in the slots $4. Plan: a range of the index of what came since per transaction;
-- written as an equality, the primary key would bring the rows in order as well, past all others, dead or alive.
SELECT m.seq, m.partition_no, m.id, m.topic, m.message_type, m.message_key, m.content_type, m.headers::text,
    m.idempotency_key, m.not_before, m.created_at, m.payload, tidsend(m.ctid), xid8send(m.xid)
FROM unnest($1::text[]::xid8[]) AS late (xid)
CROSS JOIN LATERAL (
    SELECT o.*, o.ctid
    FROM outbox_messages AS o
    WHERE o.xid >= late.xid AND o.xid <= late.xid AND (o.xid, o.seq + 0) > ($2::text::xid8, $3) AND o.partition_no = ANY ($4)
    ORDER BY o.xid, o.seq + 0
    LIMIT $5) AS m
ORDER BY m.xid, m.seq
LIMIT $5
