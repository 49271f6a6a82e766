-- Of the rows that are as old as ? microseconds, the oldest ?: looked up without locks, so that nobody who writes is in
-- the way. Plan: the oldest entries of the index on created_at, and a lookup by primary key each.
DELETE kept
FROM (
    SELECT topic, idempotency_key FROM outbox_idempotency FORCE INDEX (outbox_idempotency_created)
    WHERE created_at <= TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) - ?
    ORDER BY created_at LIMIT ?) AS old
STRAIGHT_JOIN outbox_idempotency AS kept FORCE INDEX (PRIMARY)
    ON kept.topic = old.topic AND kept.idempotency_key = old.idempotency_key
