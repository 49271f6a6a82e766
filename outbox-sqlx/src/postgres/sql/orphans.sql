-- What sessions that are over left in flight and what happened to it so far; a fresh message has no past. A place in
-- a slot that somebody alive owns is not in flight any more: its session gave the slot back.
-- Plan: the journal, the list of each row, and a lookup by primary key each.
SELECT DISTINCT ON (place.seq) place.seq, j.alone,
    coalesce(d.attempts, 0), coalesce(d.crashes, 0), coalesce(d.in_doubt, false)
FROM outbox_journal AS j
CROSS JOIN unnest(j.places) AS place (seq)
LEFT JOIN outbox_messages AS m ON m.seq = place.seq
LEFT JOIN outbox_deferred AS d ON d.seq = place.seq
WHERE coalesce(m.seq, d.seq) IS NOT NULL
    AND NOT EXISTS (SELECT FROM outbox_sessions AS s WHERE s.epoch = j.epoch AND s.fenced_at IS NULL)
    AND NOT EXISTS (
        SELECT FROM outbox_leases AS l
        JOIN outbox_sessions AS s ON s.epoch = l.epoch AND s.fenced_at IS NULL
        WHERE l.slot = coalesce(m.partition_no, d.partition_no))
ORDER BY place.seq, j.batch_no DESC
