-- At most $2 rows older than $1 microseconds. Plan: the oldest entries of the index on at, and a TID scan.
DELETE FROM outbox_acts
WHERE ctid = ANY (ARRAY (
    SELECT ctid FROM outbox_acts
    WHERE at <= (SELECT clock_timestamp() - $1 * interval '1 microsecond')
    ORDER BY at
    LIMIT $2
    FOR UPDATE SKIP LOCKED))
