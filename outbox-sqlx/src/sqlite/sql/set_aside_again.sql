-- Verdicts on messages that were set aside before:
--   [[place, state, delay or null, attempts, crashes, in doubt, failure or null], ...]; null keeps what is there.
-- The last ten failures are kept; a repeated verdict does not write its failure twice.
-- Plan: the list, and a lookup by primary key each.
UPDATE outbox_deferred AS d
SET state = v.value ->> 1,
    due_at = ?2 + (v.value ->> 2),
    attempts = coalesce(v.value ->> 3, d.attempts),
    crashes = coalesce(v.value ->> 4, d.crashes),
    in_doubt = coalesce(v.value ->> 5, d.in_doubt),
    failures = CASE
        WHEN v.value ->> 6 IS NULL OR d.failures ->> '$[#-1]' = v.value ->> 6 THEN d.failures
        WHEN json_array_length(d.failures) >= 10
            THEN json_insert(json_remove(d.failures, '$[0]'), '$[#]', json(v.value -> 6))
        ELSE json_insert(d.failures, '$[#]', json(v.value -> 6))
    END,
    set_aside_at = ?2
FROM json_each(?1) AS v
WHERE d.seq = v.value ->> 0
