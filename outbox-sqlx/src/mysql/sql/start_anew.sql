-- Dead letters that a person redrives count their age from ? on. Plan: the list, and a lookup by primary key each.
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS v
STRAIGHT_JOIN outbox_deferred AS d FORCE INDEX (PRIMARY) ON d.seq = v.seq
SET d.not_before = ?
WHERE d.state IN ('dead', 'parked')
