-- The places that are due in topic $1 and the slots $4, longest due first. Plan: a range of the due index alone.
SELECT due_at, seq, partition_no
FROM outbox_deferred
WHERE topic = $1 AND due_at <= $2 AND partition_no = ANY ($4)
ORDER BY due_at, seq
LIMIT $3
