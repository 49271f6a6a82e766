-- New messages; the rows follow in the code. The trigger registers idempotency keys.
INSERT INTO outbox_messages
    (id, topic, message_type, message_key, content_type, headers, idempotency_key, not_before, payload)
VALUES
