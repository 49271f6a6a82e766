-- Of these topics ($1) and keys ($2), the ones that are blocked, by their number in the list.
-- Plan: the list, and a lookup in the key index each.
SELECT wanted.n
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (topic, message_key, n)
CROSS JOIN LATERAL (
    SELECT FROM outbox_deferred AS head
    WHERE head.topic = wanted.topic AND head.message_key = wanted.message_key
        AND head.state IN ('waiting', 'parked')
    LIMIT 1) AS head
