-- New messages, in the order given; the words in braces are filled in by script.rs.
INSERT INTO outbox_messages
    (id, topic, message_type, message_key, content_type, headers, idempotency_key, not_before, payload)
VALUES {rows}
