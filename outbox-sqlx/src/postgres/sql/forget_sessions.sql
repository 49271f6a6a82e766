-- Sessions that ended more than a day ago. Plan: reads the few sessions once.
DELETE FROM outbox_sessions WHERE coalesce(fenced_at, expires_at) < clock_timestamp() - interval '1 day'
    AND epoch <> ALL (ARRAY (SELECT l.epoch FROM outbox_leases AS l WHERE l.epoch IS NOT NULL))
    AND epoch <> ALL (ARRAY (SELECT j.epoch FROM outbox_journal AS j))
    AND fenced_at IS NOT NULL
