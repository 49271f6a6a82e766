-- The idempotency keys of messages set aside, which are about to be inserted anew and to register them again.
-- Plan: the list, and two lookups by primary key each.
DELETE known
FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS v
STRAIGHT_JOIN outbox_deferred AS d FORCE INDEX (PRIMARY) ON d.seq = v.seq
STRAIGHT_JOIN outbox_idempotency AS known FORCE INDEX (PRIMARY)
    ON known.topic = d.topic AND known.idempotency_key = d.idempotency_key AND known.message_id = d.id
