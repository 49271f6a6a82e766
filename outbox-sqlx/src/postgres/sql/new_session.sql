-- A session with a number never used before, by this server or by one that it took over from: the time, by default.
INSERT INTO outbox_sessions (name, instance, expires_at)
VALUES ($1, $2, clock_timestamp() + $3 * interval '1 microsecond')
RETURNING epoch
