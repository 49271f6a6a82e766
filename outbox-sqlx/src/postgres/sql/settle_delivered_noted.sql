-- settle_delivered where a history is kept: the messages join it, with the receipts $10. A statement of its own, since
-- handing the rows on costs a tenth of the other, also where nobody wants them. No place ends twice at one moment, so
-- there is nothing to conflict with, and asking would double what a row costs.
-- Plan: that of settle_delivered.
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
    USING held, unnest($3::tid[], $4::bigint[], $10::text[]) AS d (lies_at, seq, receipt)
    WHERE m.ctid = d.lies_at AND m.seq + 0 = d.seq
    RETURNING m.seq, m.id, m.topic, m.message_type, m.message_key, m.created_at, d.receipt
),
noted AS (
    INSERT INTO outbox_history
        (seq, id, topic, message_type, message_key, state, attempts, crashes, in_doubt, failures, receipt,
         created_at, ended_at)
    SELECT g.seq, g.id, g.topic, g.message_type, g.message_key, 'delivered', 0, 0, false, '[]'::jsonb, g.receipt,
        g.created_at, clock_timestamp()
    FROM gone AS g
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
