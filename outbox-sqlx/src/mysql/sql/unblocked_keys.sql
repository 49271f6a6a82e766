-- The keys of those just set aside that do not block them (any more). Plan: the list, a lookup by primary key each.
SELECT d.topic, d.message_key
FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS v
STRAIGHT_JOIN outbox_deferred AS d FORCE INDEX (PRIMARY) ON d.seq = v.seq
WHERE d.message_key IS NOT NULL AND d.blocked_topic IS NULL
