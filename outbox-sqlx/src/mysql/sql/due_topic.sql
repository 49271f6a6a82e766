-- The first topic from ? on of which anything set aside has a time, and its first one.
-- Plan: the first entry of a range of the due index; the state is there for the reason that look.sql gives.
SELECT due_topic, due_at, state
FROM outbox_deferred FORCE INDEX (outbox_deferred_due)
WHERE due_topic >= ?
ORDER BY due_topic, due_at
LIMIT 1
