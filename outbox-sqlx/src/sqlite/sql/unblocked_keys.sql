-- The keys of those just set aside that do not block them (any more). Plan: the list, a lookup by primary key each.
SELECT DISTINCT d.topic, d.message_key
FROM json_each(?1) AS v
CROSS JOIN outbox_deferred AS d ON d.seq = v.value ->> 0
WHERE d.message_key IS NOT NULL AND d.state IN ('dead', 'scheduled')
