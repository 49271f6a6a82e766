-- The same, of which some have an idempotency key: the trigger leaves out those that are known. Answers the others.
INSERT INTO outbox_messages
    (id, topic, message_type, message_key, content_type, headers, idempotency_key, not_before, payload)
SELECT new.id, new.topic, new.message_type, new.message_key, new.content_type, new.headers::jsonb,
    new.idempotency_key, new.not_before, new.payload
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[],
    $9::bytea[]) WITH ORDINALITY
    AS new (id, topic, message_type, message_key, content_type, headers, idempotency_key, not_before, payload, n)
ORDER BY new.n
RETURNING id
