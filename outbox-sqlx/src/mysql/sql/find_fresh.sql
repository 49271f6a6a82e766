-- A fresh message by its id. Plan: reads the fresh messages through.
SELECT m.seq, m.id, m.topic, m.message_type, m.message_key,
        IF(m.not_before > TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)),
            'scheduled', 'waiting') AS state_now,
        0, 0, FALSE, '[]', NULL, m.created_at, m.not_before
FROM outbox_messages AS m WHERE m.id = ? ORDER BY m.seq DESC LIMIT 1
