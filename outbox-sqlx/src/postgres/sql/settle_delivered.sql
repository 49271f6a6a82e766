-- The most frequent settlement in one statement, and the first statement of every other: fresh messages were delivered,
-- batches ended, the next one begins.
-- Session $1 settles the places $4, which lie at $3, and ends the batches $5; it begins batch $6 (NULL for none;
-- alone $7, places $8). It must own the slots $2; $9 is the count of acts that it has seen. No row: fenced, nothing was
-- written. Else whether no act came in between, how many messages were deleted (a row may have moved, and then the place
-- guards it; no batch ends then), and what time it is.
-- Plan: a lookup by primary key, the sixteen leases, a TID scan per message: the place stands in an expression, so that
-- the primary key, which would cost another page or three each, is not considered.
WITH me AS MATERIALIZED (
    SELECT s.changes FROM outbox_sessions AS s WHERE s.epoch = $1 AND s.fenced_at IS NULL FOR UPDATE
),
held AS MATERIALIZED (
    SELECT me.changes = coalesce($9, me.changes) AS unchanged
    FROM me
    WHERE (SELECT count(*) FROM outbox_leases AS l WHERE l.epoch = $1 AND l.slot = ANY ($2))
        = cardinality($2::smallint[])
),
gone AS (
    DELETE FROM outbox_messages AS m
    USING held, unnest($3::tid[], $4::bigint[]) AS d (lies_at, seq)
    WHERE m.ctid = d.lies_at AND m.seq + 0 = d.seq
    RETURNING 1
),
counted AS MATERIALIZED (
    SELECT count(*) AS gone FROM gone
),
-- Not before every message is gone: what is left is written next, and until then a successor has to know of it.
ended AS (
    DELETE FROM outbox_journal AS j
    USING held, counted
    WHERE j.epoch = $1 AND j.batch_no = ANY ($5) AND counted.gone = cardinality($4::bigint[])
),
begun AS (
    INSERT INTO outbox_journal (epoch, batch_no, alone, places)
    SELECT $1, $6::bigint, $7::boolean, $8::bigint[] FROM held WHERE held.unchanged AND $6 IS NOT NULL
    ON CONFLICT (batch_no, epoch) DO UPDATE SET alone = excluded.alone, places = excluded.places
)
SELECT held.unchanged, counted.gone, clock_timestamp() FROM held, counted
