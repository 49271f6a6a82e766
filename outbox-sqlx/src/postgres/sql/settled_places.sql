-- Places that were set aside ($2) are not in flight any more: they leave the open batches of session $1.
-- Plan: the session's few journal rows.
UPDATE outbox_journal
SET places = ARRAY (SELECT place.seq FROM unnest(places) AS place (seq) WHERE place.seq <> ALL ($2))
WHERE epoch = $1 AND places && $2
