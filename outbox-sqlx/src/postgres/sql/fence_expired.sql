-- Fences the sessions that ran out and still own slots, other than $1. Plan: the sixteen leases, a lookup each.
UPDATE outbox_sessions SET fenced_at = clock_timestamp()
WHERE fenced_at IS NULL AND expires_at <= clock_timestamp() AND epoch <> $1
    AND epoch = ANY (ARRAY (SELECT l.epoch FROM outbox_leases AS l WHERE l.epoch IS NOT NULL))
