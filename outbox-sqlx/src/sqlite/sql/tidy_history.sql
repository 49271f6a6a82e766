-- Plan: the oldest entries of the index on ended_at.
DELETE FROM outbox_history
WHERE seq IN (SELECT seq FROM outbox_history WHERE ended_at <= ?1 ORDER BY ended_at LIMIT ?2)
