-- The first statement of a settlement: holds session $1 and tells whether it owns the slots $2. No row: it is fenced.
-- Plan: a lookup by primary key, and the sixteen leases.
SELECT clock_timestamp(), s.changes,
    (SELECT count(*) FROM outbox_leases AS l WHERE l.epoch = $1 AND l.slot = ANY ($2)) = cardinality($2::smallint[])
FROM outbox_sessions AS s
WHERE s.epoch = $1 AND s.fenced_at IS NULL
FOR UPDATE
