-- What session $1 owns, how many sessions are alive with it, and how many slots it could take: those of nobody, and
-- of others that ran out. Plan: the few sessions, and the sixteen leases.
SELECT
    EXISTS (SELECT FROM outbox_sessions AS s WHERE s.epoch = $1 AND s.fenced_at IS NULL),
    ARRAY (SELECT l.slot FROM outbox_leases AS l WHERE l.epoch = $1 ORDER BY l.slot),
    (SELECT count(*) FROM outbox_sessions AS s
     WHERE s.fenced_at IS NULL AND s.expires_at > clock_timestamp() AND s.epoch <> $1),
    (SELECT count(*) FROM outbox_leases AS l
     WHERE NOT EXISTS (
         SELECT FROM outbox_sessions AS s
         WHERE s.epoch = l.epoch AND s.fenced_at IS NULL AND (s.expires_at > clock_timestamp() OR s.epoch = $1)))
