-- Of the messages just set aside ($1), those that have an earlier one of their key before them wait without a time.
-- Plan: the list, a lookup by primary key each, and one in the key index.
UPDATE outbox_deferred AS d SET due_at = NULL
WHERE d.seq = ANY ($1) AND d.state = 'waiting' AND d.due_at IS NOT NULL
    AND (SELECT true FROM outbox_deferred AS head
         WHERE head.topic = d.topic AND head.message_key = d.message_key
             AND head.state IN ('waiting', 'parked') AND head.seq < d.seq
         LIMIT 1)
