-- The places after ?1 of the messages of topic ?2 (NULL for any) in one of the states ?3 (a list), lying ?4 (NULL for
-- any), that have not ended and are not in flight. Plan: as for a page of the list.
SELECT seq
FROM outbox_overview
WHERE seq > ?1 AND (?2 IS NULL OR topic = ?2) AND state IN (SELECT value FROM json_each(?3))
    AND (?4 IS NULL OR lies = ?4) AND lies <> 'ended'
    AND seq NOT IN (SELECT place.value FROM outbox_journal AS j, json_each(j.places) AS place)
ORDER BY seq
LIMIT ?5
