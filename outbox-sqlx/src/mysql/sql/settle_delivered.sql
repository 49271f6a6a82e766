-- The most frequent settlement as one script, in one flight: fresh messages were delivered, batches ended, the next one
-- begins. Words in braces are filled in with integers, lists of integers, and hexadecimal text, by script.rs.
-- Each statement asks for the fence, which the first one found out and which holds the session until the end.
-- Plan: a lookup by primary key, the sixteen leases without locks; the lists, and a lookup by primary key each.
START TRANSACTION;
SET @outbox_held = 0, @outbox_unchanged = 0;
SELECT 1, s.changes = COALESCE({changes}, s.changes) INTO @outbox_held, @outbox_unchanged
FROM outbox_sessions AS s
WHERE s.epoch = {epoch} AND s.fenced_at IS NULL
    AND (SELECT COUNT(*) FROM outbox_leases AS l WHERE l.epoch = {epoch} AND ({slots} >> l.slot) & 1)
        = BIT_COUNT({slots})
FOR UPDATE;
INSERT IGNORE INTO outbox_history
    (seq, id, topic, message_type, message_key, state, attempts, crashes, in_doubt, failures, receipt, created_at,
     ended_at)
SELECT m.seq, m.id, m.topic, m.message_type, m.message_key, 'delivered', 0, 0, FALSE, '[]', v.receipt,
    m.created_at, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
FROM JSON_TABLE({receipts}, '$[*]' COLUMNS (
    seq BIGINT PATH '$[0]',
    receipt LONGTEXT CHARACTER SET utf8mb4 PATH '$[1]',
    mark BIGINT PATH '$[2]')) AS v
STRAIGHT_JOIN outbox_messages AS m FORCE INDEX (PRIMARY) ON m.seq = v.seq AND CRC32(m.id) = v.mark
WHERE @outbox_held;
DELETE m
FROM JSON_TABLE('{places}', '$[*]' COLUMNS (seq BIGINT PATH '$[0]', mark BIGINT PATH '$[1]')) AS v
STRAIGHT_JOIN outbox_messages AS m FORCE INDEX (PRIMARY) ON m.seq = v.seq AND CRC32(m.id) = v.mark
WHERE @outbox_held;
DELETE j
FROM JSON_TABLE('{ended}', '$[*]' COLUMNS (batch_no BIGINT PATH '$')) AS v
STRAIGHT_JOIN outbox_journal AS j FORCE INDEX (PRIMARY) ON j.epoch = {epoch} AND j.batch_no = v.batch_no
WHERE @outbox_held;
REPLACE INTO outbox_journal (epoch, batch_no, alone, places)
SELECT {epoch}, {batch}, {alone}, '{next}' FROM DUAL
WHERE @outbox_held AND @outbox_unchanged AND {batch} IS NOT NULL;
COMMIT;
SELECT @outbox_held, @outbox_unchanged
