-- Verdicts on messages that were set aside before: places $1, states $2, delays in microseconds $3 (NULL for no
-- time), attempts $4, crashes $5, in doubt $6, failures $7; NULL in these keeps what is there.
-- The last ten failures are kept; a repeated verdict does not write its failure twice.
-- Plan: the list, and a lookup by primary key each.
UPDATE outbox_deferred AS d
SET state = v.state,
    due_at = $8::timestamptz + v.delay * interval '1 microsecond',
    attempts = coalesce(v.attempts, d.attempts),
    crashes = coalesce(v.crashes, d.crashes),
    in_doubt = coalesce(v.in_doubt, d.in_doubt),
    failures = CASE
        WHEN v.failure IS NULL OR d.failures -> -1 = v.failure::jsonb THEN d.failures
        WHEN jsonb_array_length(d.failures) >= 10 THEN (d.failures - 0) || v.failure::jsonb
        ELSE d.failures || v.failure::jsonb
    END,
    set_aside_at = $8::timestamptz
FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::integer[], $5::integer[], $6::boolean[], $7::text[])
    AS v (seq, state, delay, attempts, crashes, in_doubt, failure)
WHERE d.seq = v.seq
