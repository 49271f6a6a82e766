-- Batch $2 of session $1 is not in flight: after an act it was not begun, but an earlier try, whose answer was lost, may
-- have begun it. A statement of its own, since that try may have come to its end while this one waited for the session,
-- and what began before does not see it.
-- Plan: a lookup by primary key.
DELETE FROM outbox_journal WHERE batch_no = $2 AND epoch = $1
