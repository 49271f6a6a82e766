-- What a claim needs to know before it reads rows. Plan: one row, and the first entry of two partial indexes.
SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000 AS now,
    changes,
    EXISTS (SELECT 1 FROM outbox_deferred WHERE message_key IS NOT NULL AND state IN ('waiting', 'parked')) AS blocked,
    EXISTS (SELECT 1 FROM outbox_deferred WHERE due_at IS NOT NULL) AS due
FROM outbox_state
