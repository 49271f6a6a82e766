-- Removes the rows that old_idempotency.sql found, unless one was written anew since: those that are as old as ? microseconds.
-- Plan: the list, and a lookup by primary key each.
DELETE kept
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    topic VARCHAR(255) CHARACTER SET utf8mb4 PATH '$[0]',
    idempotency_key VARCHAR(255) CHARACTER SET utf8mb4 PATH '$[1]')) AS old
STRAIGHT_JOIN outbox_idempotency AS kept FORCE INDEX (PRIMARY)
    ON kept.topic = old.topic AND kept.idempotency_key = old.idempotency_key
WHERE kept.created_at <= TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) - ?
