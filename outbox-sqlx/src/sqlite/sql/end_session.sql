-- Session ?1 gives the outbox back and ends, at ?2. Plan: one row, and a lookup by primary key.
UPDATE outbox_state SET owner = NULL WHERE owner = ?1;
UPDATE outbox_sessions SET fenced_at = ?2 WHERE epoch = ?1;
