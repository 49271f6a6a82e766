-- Verdicts on fresh messages, in the form of set_aside_again. What waits behind an earlier message of its key has
-- no time of its own; later ones of the key lose theirs; and the open batches of session $9 (NULL for none) lose what is
-- not in flight any more. Answers how many messages were moved, and those of them that lead their key as far as this
-- statement sees, which is not what it writes itself.
-- Plan: the list, a lookup by primary key each, one in the key index, and a range of the front index, which is short and
-- closed to the planner (OFFSET) as in hold_back; the session's few journal rows.
WITH moved AS (
    DELETE FROM outbox_messages AS m
    USING unnest($1::bigint[], $2::text[], $3::bigint[], $4::integer[], $5::integer[], $6::boolean[], $7::text[])
        AS v (seq, state, delay, attempts, crashes, in_doubt, failure)
    WHERE m.seq = v.seq
    RETURNING m.seq, m.id, m.topic, m.message_type, m.message_key, m.content_type, m.headers, m.idempotency_key,
        m.not_before, m.created_at, m.payload, v.state, v.delay, v.attempts, v.crashes, v.in_doubt, v.failure
),
put AS (
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
    RETURNING seq, message_key IS NOT NULL AND state = 'waiting' AND due_at IS NOT NULL AS leads
),
held_back AS (
    UPDATE outbox_deferred SET due_at = NULL
    WHERE seq = ANY (ARRAY (
        SELECT later.seq
        FROM moved AS m
        CROSS JOIN LATERAL (
            SELECT l.seq FROM outbox_deferred AS l
            WHERE l.topic = m.topic AND l.message_key = m.message_key AND l.state = 'waiting'
                AND l.due_at IS NOT NULL AND l.seq > m.seq
            OFFSET 0) AS later
        WHERE m.state IN ('waiting', 'parked')))
),
settled AS (
    UPDATE outbox_journal
    SET places = ARRAY (SELECT place.seq FROM unnest(places) AS place (seq) WHERE place.seq <> ALL ($1))
    WHERE epoch = $9 AND places && $1
)
SELECT count(*), coalesce(array_agg(put.seq) FILTER (WHERE put.leads), '{}')
FROM put
