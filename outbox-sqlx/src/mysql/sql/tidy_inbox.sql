-- Removes the rows that old_inbox.sql found, unless one was written anew since: those that are as old as ? microseconds.
-- Plan: the list, and a lookup by primary key each.
DELETE kept
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    consumer VARCHAR(255) CHARACTER SET utf8mb4 PATH '$[0]',
    message_id CHAR(32) CHARACTER SET utf8mb4 PATH '$[1]')) AS old
STRAIGHT_JOIN outbox_inbox AS kept FORCE INDEX (PRIMARY)
    ON kept.consumer = old.consumer AND kept.message_id = UNHEX(old.message_id)
WHERE kept.created_at <= TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) - ?
