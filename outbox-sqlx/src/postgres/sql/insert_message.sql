-- A single new message, which is what most transactions have: half the work of a list of one. Where its idempotency key
-- is known, no row is inserted.
INSERT INTO outbox_messages
    (id, topic, message_type, message_key, content_type, headers, idempotency_key, not_before, payload)
VALUES ($1::uuid, $2::text, $3::text, $4::text, $5::text, $6::text::jsonb, $7::text, $8::timestamptz, $9::bytea)
