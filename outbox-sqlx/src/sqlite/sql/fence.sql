-- The first statement of every write of a dispatcher: does session ?1 still own the outbox?
-- Plan: one row, and a lookup by primary key.
SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000 AS now,
    outbox_state.changes,
    mine.epoch IS NOT NULL AND mine.fenced_at IS NULL AS alive,
    mine.epoch IS NOT NULL AND mine.epoch = outbox_state.owner AS owner
FROM outbox_state
LEFT JOIN outbox_sessions AS mine ON mine.epoch = ?1
