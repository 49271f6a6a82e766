-- Per topic and state, how many messages there are and when the oldest was created. Plan: reads everything once.
SELECT topic, state, CAST(SUM(messages) AS SIGNED), MIN(oldest)
FROM (
    SELECT m.topic,
        IF(m.not_before > TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)), 'scheduled', 'waiting') AS state,
        COUNT(*) AS messages, MIN(m.created_at) AS oldest
    FROM outbox_messages AS m GROUP BY 1, 2
    UNION ALL
    SELECT d.topic,
        CASE WHEN d.state <> 'waiting' THEN d.state
            WHEN d.due_at IS NOT NULL AND (d.attempts > 0 OR d.crashes > 0 OR d.in_doubt) THEN 'retrying'
            ELSE 'behind' END,
        COUNT(*), MIN(d.created_at)
    FROM outbox_deferred AS d GROUP BY 1, 2
    UNION ALL
    SELECT h.topic, h.state, COUNT(*), MIN(h.created_at) FROM outbox_history AS h GROUP BY 1, 2) AS overview
GROUP BY topic, state
ORDER BY topic
