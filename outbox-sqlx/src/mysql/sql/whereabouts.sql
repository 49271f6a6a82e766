-- Where messages lie that are to be set aside: their failures if they were set aside before, and the first place
-- that blocks their key. Plan: the list, two lookups by primary key each, and one in the key index.
SELECT v.seq, d.failures,
    (SELECT head.seq FROM outbox_deferred AS head FORCE INDEX (outbox_deferred_key)
     WHERE head.blocked_topic = m.topic AND head.message_key = m.message_key
     ORDER BY head.blocked_topic, head.message_key, head.seq LIMIT 1)
FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS v
LEFT JOIN outbox_deferred AS d FORCE INDEX (PRIMARY) ON d.seq = v.seq
LEFT JOIN outbox_messages AS m FORCE INDEX (PRIMARY) ON m.seq = v.seq
WHERE d.seq IS NOT NULL OR m.seq IS NOT NULL
