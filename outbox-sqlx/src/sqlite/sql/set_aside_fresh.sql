-- Verdicts on fresh messages, in the form of set_aside_again. What waits behind an earlier message of its key has
-- no time of its own.
-- Plan: the list, a lookup by primary key each, and one in the key index.
INSERT INTO outbox_deferred
    (seq, id, topic, message_type, message_key, content_type, headers, idempotency_key, not_before, created_at,
     state, due_at, attempts, crashes, in_doubt, failures, set_aside_at, payload)
SELECT m.seq, m.id, m.topic, m.message_type, m.message_key, m.content_type, m.headers, m.idempotency_key,
    m.not_before, m.created_at,
    v.value ->> 1,
    CASE WHEN v.value ->> 1 <> 'waiting' OR NOT EXISTS (
            SELECT 1 FROM outbox_deferred AS head
            WHERE head.topic = m.topic AND head.message_key = m.message_key
                AND head.state IN ('waiting', 'parked') AND head.seq < m.seq)
        THEN ?2 + (v.value ->> 2) END,
    coalesce(v.value ->> 3, 0), coalesce(v.value ->> 4, 0), coalesce(v.value ->> 5, 0),
    CASE WHEN v.value ->> 6 IS NULL THEN '[]' ELSE json_array(json(v.value -> 6)) END,
    ?2, m.payload
FROM json_each(?1) AS v
CROSS JOIN outbox_messages AS m ON m.seq = v.value ->> 0
ORDER BY m.seq
