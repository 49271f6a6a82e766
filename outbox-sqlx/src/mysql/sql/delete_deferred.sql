-- Delivered messages that were set aside. Plan: the list, and a lookup by primary key each.
DELETE d
FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS v
STRAIGHT_JOIN outbox_deferred AS d FORCE INDEX (PRIMARY) ON d.seq = v.seq
