-- Keeps session $1 alive for $2 microseconds, if it is not fenced. Plan: a lookup by primary key.
UPDATE outbox_sessions SET expires_at = clock_timestamp() + $2 * interval '1 microsecond'
WHERE epoch = $1 AND fenced_at IS NULL
