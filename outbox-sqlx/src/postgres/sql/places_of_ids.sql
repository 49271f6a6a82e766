-- The places of these messages. Plan: the index for what was set aside; fresh messages are read through once.
SELECT seq FROM outbox_deferred WHERE id = ANY ($1)
UNION ALL
SELECT seq FROM outbox_messages WHERE id = ANY ($1)
