-- Delivered messages that were fresh. Plan: the list, and a lookup by primary key each.
DELETE FROM outbox_messages WHERE seq = ANY ($1)
