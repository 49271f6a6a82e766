-- Of these topics and keys, those that are blocked while nothing of them has a time.
-- Plan: the list, and a lookup in two indexes each.
SELECT keys_of.topic, keys_of.message_key
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    topic VARCHAR(255) CHARACTER SET utf8mb4 PATH '$[0]',
    message_key VARCHAR(255) CHARACTER SET utf8mb4 PATH '$[1]')) AS keys_of
WHERE (SELECT 1 FROM outbox_deferred AS head FORCE INDEX (outbox_deferred_key)
       WHERE head.blocked_topic = keys_of.topic AND head.message_key = keys_of.message_key LIMIT 1) = 1
    AND (SELECT 1 FROM outbox_deferred AS front FORCE INDEX (outbox_deferred_front)
         WHERE front.front_topic = keys_of.topic AND front.message_key = keys_of.message_key LIMIT 1) IS NULL
