-- Delivered messages that were set aside; answers their keys. Plan: the list, and a lookup by primary key each.
DELETE FROM outbox_deferred WHERE seq = ANY ($1)
RETURNING topic, message_key
