-- Session ? takes at most ? slots of nobody or of sessions that are over: one that ran out since those were fenced is
-- not, and keeps its own. Plan: the sixteen leases, which the transaction has locked, and a lookup each, without locks.
UPDATE outbox_leases AS l SET l.epoch = ?
WHERE NOT EXISTS (SELECT 1 FROM outbox_sessions AS s WHERE s.epoch = l.epoch AND s.fenced_at IS NULL)
ORDER BY l.slot
LIMIT ?
