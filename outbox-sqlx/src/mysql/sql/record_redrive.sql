-- The act (who ?, why ?, at ?), with what had happened so far; the failures only of those that leave their row.
-- Plan: the list, and a lookup by primary key each.
INSERT INTO outbox_acts (message_id, what, who, why, at, attempts, crashes, in_doubt, failures)
SELECT d.id, 'redrive', ?, ?, ?, d.attempts, d.crashes, d.in_doubt, IF(d.state = 'dead', d.failures, '[]')
FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS v
STRAIGHT_JOIN outbox_deferred AS d FORCE INDEX (PRIMARY) ON d.seq = v.seq
