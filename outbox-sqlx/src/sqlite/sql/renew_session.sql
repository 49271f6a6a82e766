-- Plan: a lookup by primary key.
UPDATE outbox_sessions SET expires_at = ?2 WHERE epoch = ?1
