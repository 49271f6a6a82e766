-- The sessions that ran out and still own slots, other than ?. Plan: the sixteen leases, and the few sessions.
SELECT DISTINCT s.epoch
FROM outbox_leases AS l
JOIN outbox_sessions AS s ON s.epoch = l.epoch
WHERE s.fenced_at IS NULL
    AND s.expires_at <= TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) AND s.epoch <> ?
ORDER BY s.epoch
