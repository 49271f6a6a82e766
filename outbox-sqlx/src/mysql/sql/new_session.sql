-- A session with a number never used before.
INSERT INTO outbox_sessions (name, instance, expires_at)
VALUES (?, ?, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + ?)
