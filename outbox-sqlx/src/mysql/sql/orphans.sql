-- What is still there of the places that sessions which are over left in flight, and what happened to it so far; a
-- fresh message has no past. A place in a slot that somebody alive owns is not in flight: its session gave it back.
-- Plan: the list, two lookups by primary key each, and one among the sixteen leases.
SELECT v.seq, COALESCE(d.attempts, 0), COALESCE(d.crashes, 0), COALESCE(d.in_doubt, FALSE)
FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS v
LEFT JOIN outbox_messages AS m FORCE INDEX (PRIMARY) ON m.seq = v.seq
LEFT JOIN outbox_deferred AS d FORCE INDEX (PRIMARY) ON d.seq = v.seq
WHERE (m.seq IS NOT NULL OR d.seq IS NOT NULL)
    AND (SELECT 1 FROM outbox_leases AS l
         JOIN outbox_sessions AS s ON s.epoch = l.epoch AND s.fenced_at IS NULL
         WHERE l.slot = COALESCE(m.partition_no, d.partition_no) LIMIT 1) IS NULL
