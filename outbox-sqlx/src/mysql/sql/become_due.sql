-- Messages set aside become due at ? (NULL: they wait without a time).
-- Plan: the list, and a lookup by primary key each.
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS v
STRAIGHT_JOIN outbox_deferred AS d FORCE INDEX (PRIMARY) ON d.seq = v.seq
SET d.due_at = ?
