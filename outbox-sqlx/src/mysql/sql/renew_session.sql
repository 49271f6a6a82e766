-- Keeps a session alive for ? microseconds, if it is not fenced. A server that took over from one that failed may give
-- the numbers of its last sessions to others: the instance tells them apart. Plan: a lookup by primary key.
UPDATE outbox_sessions SET expires_at = TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + ?
WHERE epoch = ? AND instance = ? AND fenced_at IS NULL
