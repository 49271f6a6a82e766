-- The owners learn that what they hold in memory may have changed; waits for settlements that are being written.
UPDATE outbox_sessions SET changes = changes + 1
WHERE fenced_at IS NULL
    AND epoch = ANY (ARRAY (SELECT l.epoch FROM outbox_leases AS l WHERE l.epoch IS NOT NULL))
