-- The places after $1 of the messages of topic $2 (NULL for any) in one of the states $3, lying $4 (NULL for any), that
-- have not ended and are not in flight. Plan: as for a page of the list, and the journal once.
SELECT seq
FROM outbox_overview
WHERE seq > $1 AND ($2::text IS NULL OR topic = $2) AND state = ANY ($3)
    AND ($4::text IS NULL OR lies = $4) AND lies <> 'ended'
    AND seq <> ALL (ARRAY (SELECT place.seq FROM outbox_journal AS j CROSS JOIN unnest(j.places) AS place (seq)))
ORDER BY seq
LIMIT $5
