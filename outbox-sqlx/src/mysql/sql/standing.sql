-- What session ? (always the same) owns, a bit per slot, how many others are alive, and which slots it could take:
-- those of nobody, and of others that ran out. Plan: the few sessions, and the sixteen leases.
SELECT EXISTS (SELECT 1 FROM outbox_sessions AS s WHERE s.epoch = ? AND s.fenced_at IS NULL),
    (SELECT CAST(COALESCE(SUM(1 << l.slot), 0) AS SIGNED) FROM outbox_leases AS l WHERE l.epoch = ?),
    (SELECT COUNT(*) FROM outbox_sessions AS s
     WHERE s.fenced_at IS NULL AND s.expires_at > TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
        AND s.epoch <> ?),
    (SELECT CAST(COALESCE(SUM(1 << l.slot), 0) AS SIGNED) FROM outbox_leases AS l
     WHERE NOT EXISTS (
         SELECT 1 FROM outbox_sessions AS s
         WHERE s.epoch = l.epoch AND s.fenced_at IS NULL
            AND (s.expires_at > TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) OR s.epoch = ?)))
