-- A message set aside by its id. Plan: a lookup in the index on id.
SELECT d.seq, d.id, d.topic, d.message_type, d.message_key,
        CASE WHEN d.state <> 'waiting' THEN d.state
            WHEN d.due_at IS NOT NULL AND (d.attempts > 0 OR d.crashes > 0 OR d.in_doubt) THEN 'retrying'
            ELSE 'behind' END AS state_now,
        d.attempts, d.crashes, d.in_doubt, d.failures, NULL, d.created_at, d.due_at
FROM outbox_deferred AS d FORCE INDEX (outbox_deferred_id) WHERE d.id = ? ORDER BY d.seq DESC LIMIT 1
