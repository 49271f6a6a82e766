-- The topics of messages set aside, with the first due time of each and the first one after now (?1).
-- Plan: one lookup in the due index per topic and column, however many messages there are.
WITH RECURSIVE topics (topic) AS (
    SELECT min(topic) FROM outbox_deferred WHERE due_at IS NOT NULL
    UNION ALL
    SELECT (SELECT min(topic) FROM outbox_deferred AS d WHERE d.due_at IS NOT NULL AND d.topic > topics.topic)
    FROM topics
    WHERE topics.topic IS NOT NULL
)
SELECT topic,
    (SELECT min(due_at) FROM outbox_deferred AS d WHERE d.topic = topics.topic AND d.due_at IS NOT NULL) AS first_due,
    (SELECT min(due_at) FROM outbox_deferred AS d WHERE d.topic = topics.topic AND d.due_at > ?1) AS next_due
FROM topics
WHERE topic IS NOT NULL
