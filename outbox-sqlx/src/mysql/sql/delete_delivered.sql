-- Delivered messages that were fresh. Plan: the list, and a lookup by primary key each: with the places in the
-- condition, a table that looks small would be read through, and every row of it locked.
DELETE m
FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS v
STRAIGHT_JOIN outbox_messages AS m FORCE INDEX (PRIMARY) ON m.seq = v.seq
