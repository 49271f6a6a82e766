-- Session $1 takes at most $2 slots of nobody or of sessions that are over. Plan: the sixteen leases, a lookup each.
UPDATE outbox_leases SET epoch = $1
WHERE slot = ANY (ARRAY (
    SELECT l.slot FROM outbox_leases AS l
    WHERE NOT EXISTS (SELECT FROM outbox_sessions AS s WHERE s.epoch = l.epoch AND s.fenced_at IS NULL)
    ORDER BY l.slot
    LIMIT $2))
