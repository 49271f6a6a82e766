-- Of the rows that are as old as ? microseconds, the oldest ?, each as a JSON array: looked up without locks, since the
-- range ends where others write. Plan: the oldest entries of the index on created_at, and nothing else.
SELECT CAST(JSON_ARRAY(consumer, HEX(message_id)) AS CHAR) FROM outbox_inbox FORCE INDEX (outbox_inbox_created)
WHERE created_at <= TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) - ?
ORDER BY created_at LIMIT ?
