-- The act (who ?, why ?, at ?), with what had happened so far. Plan: the list, and a lookup by primary key each.
INSERT INTO outbox_acts (message_id, what, who, why, at, attempts, crashes, in_doubt, failures)
SELECT COALESCE(m.id, d.id), 'discard', ?, ?, ?, COALESCE(d.attempts, 0), COALESCE(d.crashes, 0),
    COALESCE(d.in_doubt, FALSE), COALESCE(d.failures, '[]')
FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS v
LEFT JOIN outbox_messages AS m FORCE INDEX (PRIMARY) ON m.seq = v.seq
LEFT JOIN outbox_deferred AS d FORCE INDEX (PRIMARY) ON d.seq = v.seq
WHERE m.seq IS NOT NULL OR d.seq IS NOT NULL
