-- Fresh messages while some key is blocked. Plan: a range of the primary key, and one lookup in the key index each.
SELECT seq, id, topic, message_type, message_key, content_type, headers, idempotency_key, not_before, created_at,
    payload,
    EXISTS (SELECT 1 FROM outbox_deferred AS head
            WHERE head.topic = m.topic AND head.message_key = m.message_key AND head.state IN ('waiting', 'parked'))
        AS behind
FROM outbox_messages AS m
WHERE seq > ?1
ORDER BY seq
LIMIT ?2
