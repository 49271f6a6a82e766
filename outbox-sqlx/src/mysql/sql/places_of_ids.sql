-- The places of these messages (? twice). Plan: the index for what was set aside; fresh messages are read through once.
SELECT d.seq
FROM JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(32) CHARACTER SET utf8mb4 PATH '$')) AS v
STRAIGHT_JOIN outbox_deferred AS d FORCE INDEX (outbox_deferred_id) ON d.id = UNHEX(v.id)
UNION
SELECT m.seq
FROM outbox_messages AS m
JOIN JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(32) CHARACTER SET utf8mb4 PATH '$')) AS v ON m.id = UNHEX(v.id)
