-- The first statement of a settlement: holds session ? and tells how many of the slots ? (a bit each) it owns.
-- No row: it is fenced. Plan: a lookup by primary key, and the sixteen leases, without a lock.
SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)), s.changes,
    (SELECT COUNT(*) FROM outbox_leases AS l WHERE l.epoch = ? AND (CAST(? AS SIGNED) >> l.slot) & 1)
FROM outbox_sessions AS s
WHERE s.epoch = ? AND s.fenced_at IS NULL
FOR UPDATE
