-- Of the rows that are as old as ? microseconds, the oldest ?, each as a JSON array: looked up without locks, since the
-- range ends where others write. Plan: the oldest entries of the index on at, and nothing else.
SELECT CAST(JSON_ARRAY(act) AS CHAR) FROM outbox_acts FORCE INDEX (outbox_acts_at)
WHERE at <= TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) - ?
ORDER BY at LIMIT ?
