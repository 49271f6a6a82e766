-- Verdicts on fresh messages, in the form of set_aside_again. What waits behind an earlier message of its key has
-- no time of its own.
-- Plan: the list, a lookup by primary key each, and one in the key index.
WITH moved AS (
    DELETE FROM outbox_messages AS m
    USING unnest($1::bigint[], $2::text[], $3::bigint[], $4::integer[], $5::integer[], $6::boolean[], $7::text[])
        AS v (seq, state, delay, attempts, crashes, in_doubt, failure)
    WHERE m.seq = v.seq
    RETURNING m.seq, m.id, m.topic, m.message_type, m.message_key, m.content_type, m.headers, m.idempotency_key,
        m.not_before, m.created_at, m.payload, v.state, v.delay, v.attempts, v.crashes, v.in_doubt, v.failure
)
INSERT INTO outbox_deferred
    (seq, id, topic, message_type, message_key, content_type, headers, idempotency_key, not_before, created_at,
     state, due_at, attempts, crashes, in_doubt, failures, set_aside_at, payload)
SELECT m.seq, m.id, m.topic, m.message_type, m.message_key, m.content_type, m.headers, m.idempotency_key,
    m.not_before, m.created_at,
    m.state,
    CASE WHEN m.state <> 'waiting' OR NOT EXISTS (
            SELECT FROM outbox_deferred AS head
            WHERE head.topic = m.topic AND head.message_key = m.message_key
                AND head.state IN ('waiting', 'parked') AND head.seq < m.seq)
        THEN $8::timestamptz + m.delay * interval '1 microsecond' END,
    coalesce(m.attempts, 0), coalesce(m.crashes, 0), coalesce(m.in_doubt, false),
    CASE WHEN m.failure IS NULL THEN '[]'::jsonb ELSE jsonb_build_array(m.failure::jsonb) END,
    $8::timestamptz, m.payload
FROM moved AS m
