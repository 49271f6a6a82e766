-- A message of the history by its id. Plan: a lookup in the index on id.
SELECT h.seq, h.id, h.topic, h.message_type, h.message_key,
        h.state AS state_now,
        h.attempts, h.crashes, h.in_doubt, h.failures, h.receipt, h.created_at, NULL
FROM outbox_history AS h FORCE INDEX (outbox_history_id) WHERE h.id = ? ORDER BY h.seq DESC LIMIT 1
