-- What a claim of session $1 needs to know before it reads rows.
-- Plan: a lookup by primary key, and the first entry of two partial indexes.
SELECT clock_timestamp(),
    (SELECT s.changes FROM outbox_sessions AS s WHERE s.epoch = $1),
    EXISTS (SELECT FROM outbox_deferred WHERE message_key IS NOT NULL AND state IN ('waiting', 'parked')) AS blocked,
    EXISTS (SELECT FROM outbox_deferred WHERE due_at IS NOT NULL) AS due,
    pg_current_snapshot()::text,
    (SELECT last_value FROM outbox_places) AS last
