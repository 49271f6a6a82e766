-- The journal of sessions that are over. Plan: the journal, and a lookup by primary key each.
DELETE FROM outbox_journal AS j
WHERE NOT EXISTS (SELECT FROM outbox_sessions AS s WHERE s.epoch = j.epoch AND s.fenced_at IS NULL)
