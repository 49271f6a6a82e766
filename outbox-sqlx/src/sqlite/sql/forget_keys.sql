-- These idempotency keys ([[topic, key], ...]) have been kept long enough. Plan: the list, a lookup by primary key each.
DELETE FROM outbox_idempotency
WHERE (topic, idempotency_key) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))
