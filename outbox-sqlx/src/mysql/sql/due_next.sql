-- The first time after ? of topic ?. Plan: the first entry of a range of the due index; where the statistics say that
-- nothing is there, MariaDB walks over what is due already. The state is there for the reason that look.sql gives.
SELECT due_at, state
FROM outbox_deferred FORCE INDEX (outbox_deferred_due)
WHERE due_at > ? AND due_topic = ?
ORDER BY due_topic, due_at
LIMIT 1
