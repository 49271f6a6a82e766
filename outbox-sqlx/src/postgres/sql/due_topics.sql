-- The topics of messages set aside, with the first due time of each and the first one after now ($1).
-- Plan: one lookup in the due index per topic and column, however many messages there are.
WITH RECURSIVE topics (topic) AS (
    (SELECT topic FROM outbox_deferred WHERE due_at IS NOT NULL ORDER BY topic LIMIT 1)
    UNION ALL
    SELECT (
        SELECT d.topic FROM outbox_deferred AS d
        WHERE d.due_at IS NOT NULL AND d.topic > topics.topic ORDER BY d.topic LIMIT 1)
    FROM topics
    WHERE topics.topic IS NOT NULL
)
SELECT topics.topic,
    (SELECT d.due_at FROM outbox_deferred AS d
     WHERE d.topic = topics.topic AND d.due_at IS NOT NULL ORDER BY d.due_at LIMIT 1) AS first_due,
    (SELECT d.due_at FROM outbox_deferred AS d
     WHERE d.topic = topics.topic AND d.due_at > $1 ORDER BY d.due_at LIMIT 1) AS next_due
FROM topics
WHERE topics.topic IS NOT NULL
