-- Which of the messages that were claimed have their places still: another server may have given some to others.
-- Plan: the list, and two lookups by primary key each.
SELECT v.seq
FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$[0]', mark BIGINT PATH '$[1]')) AS v
LEFT JOIN outbox_messages AS m FORCE INDEX (PRIMARY) ON m.seq = v.seq
LEFT JOIN outbox_deferred AS d FORCE INDEX (PRIMARY) ON d.seq = v.seq
WHERE CRC32(m.id) = v.mark OR CRC32(d.id) = v.mark
