-- A session with a number never used before.
INSERT INTO outbox_sessions (name, instance, started_at, expires_at) VALUES (?1, ?2, ?3, ?4)
