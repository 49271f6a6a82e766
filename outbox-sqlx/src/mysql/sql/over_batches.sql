-- The journal of sessions that are over, the latest batches first. Plan: the few journal rows, a lookup each.
SELECT j.epoch, j.batch_no, j.alone, j.places
FROM outbox_journal AS j
LEFT JOIN outbox_sessions AS s ON s.epoch = j.epoch AND s.fenced_at IS NULL
WHERE s.epoch IS NULL
ORDER BY j.batch_no DESC
