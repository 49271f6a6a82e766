-- Whether any of these places is in flight. Plan: the few journal rows.
SELECT EXISTS (
    SELECT 1 FROM outbox_journal AS j, json_each(j.places) AS place
    WHERE place.value IN (SELECT value FROM json_each(?1)))
