-- The places that are due in topic ? at ? and in the slots ? (a bit each), longest due first, at most ?.
-- Plan: a range of the due index; the state is there for the reason that look.sql gives.
SELECT due_at, seq, state
FROM outbox_deferred FORCE INDEX (outbox_deferred_due)
WHERE due_topic = ? AND due_at <= ? AND (CAST(? AS SIGNED) >> partition_no) & 1
ORDER BY due_at, seq
LIMIT ?
