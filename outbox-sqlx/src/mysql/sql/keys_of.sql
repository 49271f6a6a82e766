-- The keys of messages set aside. Plan: the list, and a lookup by primary key each.
SELECT d.topic, d.message_key
FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS v
STRAIGHT_JOIN outbox_deferred AS d FORCE INDEX (PRIMARY) ON d.seq = v.seq
