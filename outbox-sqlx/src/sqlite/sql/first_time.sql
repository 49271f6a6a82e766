-- Plan: a lookup by primary key.
INSERT OR IGNORE INTO outbox_inbox (consumer, message_id) VALUES (?1, ?2)
