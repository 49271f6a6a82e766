-- A session with a number never used before, by this server or by one that it took over from: the time, in microseconds.
INSERT INTO outbox_sessions (epoch, name, instance, expires_at)
VALUES (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)), ?, ?,
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + ?)
