-- The keys of those just set aside ($1) that do not block them (any more). Plan: the list, a lookup each.
SELECT DISTINCT d.topic, d.message_key
FROM outbox_deferred AS d
WHERE d.seq = ANY ($1) AND d.message_key IS NOT NULL AND d.state IN ('dead', 'scheduled')
