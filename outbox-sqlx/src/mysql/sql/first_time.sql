-- Plan: a lookup by primary key.
INSERT INTO outbox_inbox (consumer, message_id) VALUES {row}
