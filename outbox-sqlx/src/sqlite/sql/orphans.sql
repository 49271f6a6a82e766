-- What other sessions left in flight and what happened to it so far; a fresh message has no past.
-- Plan: the journal, the list of each row, and a lookup by primary key each.
SELECT place.value AS seq, j.alone,
    coalesce(d.attempts, 0), coalesce(d.crashes, 0), coalesce(d.in_doubt, 0)
FROM outbox_journal AS j
CROSS JOIN json_each(j.places) AS place
LEFT JOIN outbox_deferred AS d ON d.seq = place.value
WHERE j.epoch <> ?1
ORDER BY place.value
