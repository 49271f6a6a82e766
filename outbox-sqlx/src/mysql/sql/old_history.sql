-- Of the rows that are as old as ? microseconds, the oldest ?, each as a JSON array: looked up without locks, since the
-- range ends where others write. Plan: the oldest entries of the index on ended_at, and nothing else.
SELECT CAST(JSON_ARRAY(seq) AS CHAR) FROM outbox_history FORCE INDEX (outbox_history_ended)
WHERE ended_at <= TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) - ?
ORDER BY ended_at LIMIT ?
