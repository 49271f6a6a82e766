-- Plan: a lookup by primary key.
DELETE FROM outbox_sessions WHERE epoch = ?
