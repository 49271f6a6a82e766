-- The messages known for these topics ($1) and idempotency keys ($2). Plan: the list, a lookup by primary key each.
SELECT (SELECT known.message_id FROM outbox_idempotency AS known
        WHERE known.topic = wanted.topic AND known.idempotency_key = wanted.idempotency_key)
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (topic, idempotency_key, n)
ORDER BY wanted.n
