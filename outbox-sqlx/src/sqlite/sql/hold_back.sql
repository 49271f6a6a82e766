-- Later messages of a key do not pass one that was just set aside: they lose their time.
-- Plan: the list, a lookup by primary key each, and a range of the front index, which is short.
UPDATE outbox_deferred SET due_at = NULL
WHERE seq IN (
    SELECT later.seq
    FROM json_each(?1) AS v
    CROSS JOIN outbox_deferred AS d ON d.seq = v.value ->> 0
    CROSS JOIN outbox_deferred AS later
        ON later.topic = d.topic AND later.message_key = d.message_key AND later.state = 'waiting'
            AND later.due_at IS NOT NULL AND later.seq > d.seq
    WHERE d.state IN ('waiting', 'parked'))
