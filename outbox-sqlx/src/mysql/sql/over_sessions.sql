-- Sessions that ended more than a day ago and left nothing behind. Plan: reads the few sessions once.
SELECT s.epoch FROM outbox_sessions AS s
WHERE s.fenced_at < TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) - 86400000000
    AND NOT EXISTS (SELECT 1 FROM outbox_leases AS l WHERE l.epoch = s.epoch)
    AND NOT EXISTS (SELECT 1 FROM outbox_journal AS j WHERE j.epoch = s.epoch)
