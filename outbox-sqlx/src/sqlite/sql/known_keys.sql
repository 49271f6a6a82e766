-- Which of these idempotency keys ([[topic, key], ...]) are known, for which message, and whether they were written
-- more than ?2 microseconds ago. Plan: the list, then a lookup by primary key each.
SELECT wanted.key, known.message_id,
    known.created_at + ?2 <= CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000
FROM json_each(?1) AS wanted
CROSS JOIN outbox_idempotency AS known
    ON known.topic = wanted.value ->> 0 AND known.idempotency_key = wanted.value ->> 1
