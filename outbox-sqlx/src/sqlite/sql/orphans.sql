-- What other sessions left in flight and what happened to it so far; a fresh message has no past. One that came back unsent
-- and was begun again is in two batches while the first is open: the latest counts, whose row max() picks for the columns
-- beside it (https://www.sqlite.org/lang_select.html#bareagg).
-- Plan: the journal, the list of each row, and a lookup by primary key each.
SELECT place.value AS seq, j.alone,
    coalesce(d.attempts, 0), coalesce(d.crashes, 0), coalesce(d.in_doubt, 0), max(j.batch_no)
FROM outbox_journal AS j
CROSS JOIN json_each(j.places) AS place
LEFT JOIN outbox_deferred AS d ON d.seq = place.value
WHERE j.epoch <> ?1
GROUP BY place.value
ORDER BY place.value
