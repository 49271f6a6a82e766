-- Plan: a lookup by primary key.
UPDATE outbox_sessions SET fenced_at = ?1 WHERE epoch = (SELECT owner FROM outbox_state) AND fenced_at IS NULL
