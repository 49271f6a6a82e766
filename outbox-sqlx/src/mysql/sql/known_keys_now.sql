-- The same, with what others committed since the caller's snapshot; waits for those that are about to. Locks what it
-- finds, and at REPEATABLE READ also what is around those that it does not find.
-- Plan: the list, a lookup by primary key each.
SELECT CAST(wanted.n AS SIGNED), known.message_id
FROM JSON_TABLE(@outbox_keys, '$[*]' COLUMNS (
    n FOR ORDINALITY,
    topic VARCHAR(255) CHARACTER SET utf8mb4 PATH '$[0]',
    idempotency_key VARCHAR(255) CHARACTER SET utf8mb4 PATH '$[1]')) AS wanted
STRAIGHT_JOIN outbox_idempotency AS known FORCE INDEX (PRIMARY)
    ON known.topic = wanted.topic AND known.idempotency_key = wanted.idempotency_key
LOCK IN SHARE MODE
