-- The places that are due in a topic. Plan: a range of the due index alone, no row is read.
SELECT due_at, seq
FROM outbox_deferred
WHERE topic = ?1 AND due_at <= ?2
ORDER BY due_at, seq
LIMIT ?3
