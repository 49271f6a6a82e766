-- Which of these idempotency keys ([[topic, key], ...]) are known, and for which message.
-- Plan: the list, then a lookup by primary key each.
SELECT wanted.key, known.message_id
FROM json_each(?1) AS wanted
CROSS JOIN outbox_idempotency AS known
    ON known.topic = wanted.value ->> 0 AND known.idempotency_key = wanted.value ->> 1
