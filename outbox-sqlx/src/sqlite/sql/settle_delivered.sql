-- The most frequent settlement as one script: fresh messages were delivered, batches ended, the next one begins.
-- Session $1 settles the places $2 and the batches $3, and begins batch $4 (NULL for none; alone $5, places $6).
-- Each statement checks the owner itself, in one transaction with the others; $7 is the count of acts that the
-- session has seen. Plan: the lists, and a lookup by primary key each.
-- Parameters are named $1 and not ?1: the driver counts the gaps in numbered ones across a script.
BEGIN IMMEDIATE;
SELECT owner IS $1, changes IS coalesce($7, changes) FROM outbox_state;
DELETE FROM outbox_messages
WHERE seq IN (SELECT value FROM json_each($2)) AND (SELECT owner FROM outbox_state) IS $1;
DELETE FROM outbox_journal
WHERE epoch = $1 AND batch_no IN (SELECT value FROM json_each($3)) AND (SELECT owner FROM outbox_state) IS $1;
INSERT OR REPLACE INTO outbox_journal (epoch, batch_no, alone, places)
SELECT $1, $4, $5, $6 FROM outbox_state WHERE owner IS $1 AND changes IS coalesce($7, changes) AND $4 IS NOT NULL;
COMMIT;
