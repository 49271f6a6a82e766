-- The first messages that block key ? of topic ?. Plan: a range of the key index, and a lookup by primary key each.
SELECT seq, state
FROM outbox_deferred FORCE INDEX (outbox_deferred_key)
WHERE message_key = ? AND blocked_topic = ?
ORDER BY seq
LIMIT 100
