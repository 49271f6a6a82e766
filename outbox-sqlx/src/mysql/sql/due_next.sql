-- The first time after ? of topic ?. Plan: the first entry of a range of the due index, found before the plan is made: in
-- order and with a limit, MariaDB would read and sort the whole range.
SELECT MIN(due_at) FROM outbox_deferred FORCE INDEX (outbox_deferred_due) WHERE due_at > ? AND due_topic = ?
