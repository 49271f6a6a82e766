-- The message $1, if it lies $2. Plan: an index for what was set aside or has ended; fresh messages are read through.
SELECT seq, id, topic, message_type, message_key, state, attempts, crashes, in_doubt, failures::text, receipt,
    created_at, due_at, lies
FROM outbox_overview
WHERE id = $1 AND lies = $2
ORDER BY seq DESC
LIMIT 1
