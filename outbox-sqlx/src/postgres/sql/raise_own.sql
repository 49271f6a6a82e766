-- What session $1 sent, and nobody answered, begins nothing when it comes late: the count that it carries is old by then.
-- Plan: a lookup by primary key.
UPDATE outbox_sessions SET changes = changes + 1 WHERE epoch = $1 AND fenced_at IS NULL
