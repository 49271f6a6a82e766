-- Batches ? of session ? have ended. Plan: the list, and a lookup by primary key each.
DELETE j
FROM JSON_TABLE(?, '$[*]' COLUMNS (batch_no BIGINT PATH '$')) AS v
STRAIGHT_JOIN outbox_journal AS j FORCE INDEX (PRIMARY) ON j.epoch = ? AND j.batch_no = v.batch_no
