-- Of the messages just set aside, those that have an earlier one of their key before them: they wait without a time.
-- Plan: the list, a lookup by primary key each, and the first entry of their key in the key index.
SELECT d.seq
FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS v
STRAIGHT_JOIN outbox_deferred AS d FORCE INDEX (PRIMARY) ON d.seq = v.seq
WHERE d.front_topic IS NOT NULL
    AND (SELECT head.seq FROM outbox_deferred AS head FORCE INDEX (outbox_deferred_key)
         WHERE head.blocked_topic = d.topic AND head.message_key = d.message_key
         ORDER BY head.blocked_topic, head.message_key, head.seq LIMIT 1) < d.seq
