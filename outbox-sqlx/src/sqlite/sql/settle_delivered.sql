-- The most frequent settlement as one script: fresh messages were delivered, batches ended, the next one begins.
-- Session $1 settles the places $2 and the batches $3, and begins batch $4 (NULL for none; alone $5, places $6).
-- $7 is the count of acts that the session has seen, $8 what joins the history: [[place, receipt], ...] or NULL.
-- Each statement checks the owner itself, in one transaction with the others. Plan: the lists, and a lookup by
-- primary key each. Parameters are named $1 and not ?1: the driver counts the gaps in numbered ones across a script.
BEGIN IMMEDIATE;
SELECT owner IS $1, changes IS coalesce($7, changes) FROM outbox_state;
INSERT OR REPLACE INTO outbox_history
    (seq, id, topic, message_type, message_key, state, attempts, crashes, in_doubt, failures, receipt, created_at,
     ended_at)
SELECT m.seq, m.id, m.topic, m.message_type, m.message_key, 'delivered', 0, 0, 0, '[]', v.value ->> 1,
    m.created_at, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000
FROM json_each($8) AS v
CROSS JOIN outbox_messages AS m ON m.seq = v.value ->> 0
WHERE (SELECT owner FROM outbox_state) IS $1;
DELETE FROM outbox_messages
WHERE seq IN (SELECT value FROM json_each($2)) AND (SELECT owner FROM outbox_state) IS $1;
DELETE FROM outbox_journal
WHERE epoch = $1 AND batch_no IN (SELECT value FROM json_each($3)) AND (SELECT owner FROM outbox_state) IS $1;
INSERT OR REPLACE INTO outbox_journal (epoch, batch_no, alone, places)
SELECT $1, $4, $5, $6 FROM outbox_state WHERE owner IS $1 AND changes IS coalesce($7, changes) AND $4 IS NOT NULL;
COMMIT;
