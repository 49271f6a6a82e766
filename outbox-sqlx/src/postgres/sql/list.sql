-- A page, in order of place: after $1, of topic $2, in state $3, lying $4 (each but the first may be NULL for any).
-- Plan: a range of the index of places of each table, merged; a table that $4 leaves out is not read.
SELECT seq, id, topic, message_type, message_key, state, attempts, crashes, in_doubt, failures::text, receipt,
    created_at, due_at, lies
FROM outbox_overview
WHERE seq > $1 AND ($2::text IS NULL OR topic = $2) AND ($3::text IS NULL OR state = $3)
    AND ($4::text IS NULL OR lies = $4)
ORDER BY seq
LIMIT $5
