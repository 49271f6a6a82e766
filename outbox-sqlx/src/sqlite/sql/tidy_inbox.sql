-- Plan: the oldest entries of the index on created_at.
DELETE FROM outbox_inbox
WHERE (consumer, message_id) IN (
    SELECT consumer, message_id FROM outbox_inbox WHERE created_at <= ?1 ORDER BY created_at LIMIT ?2)
