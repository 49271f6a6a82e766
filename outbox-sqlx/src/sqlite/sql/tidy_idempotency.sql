-- Plan: the oldest entries of the index on created_at.
DELETE FROM outbox_idempotency
WHERE (topic, idempotency_key) IN (
    SELECT topic, idempotency_key FROM outbox_idempotency WHERE created_at <= ?1 ORDER BY created_at LIMIT ?2)
