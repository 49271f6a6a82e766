-- Of these topics and keys, the ones that are blocked, by their number in the list.
-- Plan: the list, and a lookup in the key index each.
SELECT CAST(wanted.n AS SIGNED)
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    n FOR ORDINALITY,
    topic VARCHAR(255) CHARACTER SET utf8mb4 PATH '$[0]',
    message_key VARCHAR(255) CHARACTER SET utf8mb4 PATH '$[1]')) AS wanted
WHERE (SELECT 1 FROM outbox_deferred AS head FORCE INDEX (outbox_deferred_key)
       WHERE head.blocked_topic = wanted.topic AND head.message_key = wanted.message_key LIMIT 1) = 1
