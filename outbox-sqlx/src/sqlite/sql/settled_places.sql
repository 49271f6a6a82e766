-- A place that was set aside is not in flight any more: it leaves the open batches of session ?1.
-- Plan: the session's few journal rows.
UPDATE outbox_journal
SET places = (
    SELECT json_group_array(place.value) FROM json_each(places) AS place
    WHERE place.value NOT IN (SELECT v.value ->> 0 FROM json_each(?2) AS v))
WHERE epoch = ?1 AND EXISTS (
    SELECT 1 FROM json_each(places) AS place
    WHERE place.value IN (SELECT v.value ->> 0 FROM json_each(?2) AS v))
