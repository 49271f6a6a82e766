-- At most $2 rows older than $1 microseconds. Plan: the oldest entries of the index on created_at, and a TID scan.
DELETE FROM outbox_inbox
WHERE ctid = ANY (ARRAY (
    SELECT ctid FROM outbox_inbox
    WHERE created_at <= (SELECT clock_timestamp() - $1 * interval '1 microsecond')
    ORDER BY created_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED))
