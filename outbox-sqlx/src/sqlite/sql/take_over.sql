-- The end of a takeover by session ?1: the old journal goes, the outbox is its own, and sessions that ended
-- before ?2 are forgotten.
DELETE FROM outbox_journal WHERE epoch <> ?1;
UPDATE outbox_state SET owner = ?1;
DELETE FROM outbox_sessions
WHERE epoch <> ?1 AND coalesce(fenced_at, expires_at) < ?2;
