-- Per topic and state, how many messages there are and when the oldest was created. Plan: reads everything once.
SELECT topic, state, count(*), min(created_at)
FROM outbox_overview
GROUP BY topic, state
ORDER BY topic
