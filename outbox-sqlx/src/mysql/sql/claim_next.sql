-- What a claim of session ? needs to know, as in look.sql, in the first row, and then the fresh messages as in claim.sql:
-- for a session that reads on while nothing set aside was going to be due.
-- Plan: those of the two, one after another, without a table in between.
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, CRC32(''),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)),
    (SELECT s.changes FROM outbox_sessions AS s WHERE s.epoch = ?),
    (SELECT state FROM outbox_deferred FORCE INDEX (outbox_deferred_key)
     WHERE blocked_topic >= '' ORDER BY blocked_topic LIMIT 1) IS NOT NULL,
    (SELECT state FROM outbox_deferred FORCE INDEX (outbox_deferred_due)
     WHERE due_topic >= '' ORDER BY due_topic LIMIT 1) IS NOT NULL
UNION ALL
(SELECT m.seq, m.partition_no, IF((mine.slots >> m.partition_no) & 1, m.id, NULL),
    IF((mine.slots >> m.partition_no) & 1, m.topic, NULL),
    IF((mine.slots >> m.partition_no) & 1, m.message_type, NULL),
    IF((mine.slots >> m.partition_no) & 1, m.message_key, NULL),
    IF((mine.slots >> m.partition_no) & 1, m.content_type, NULL),
    IF((mine.slots >> m.partition_no) & 1, m.headers, NULL),
    IF((mine.slots >> m.partition_no) & 1, m.idempotency_key, NULL),
    IF((mine.slots >> m.partition_no) & 1, m.not_before, NULL),
    IF((mine.slots >> m.partition_no) & 1, m.created_at, NULL),
    IF((mine.slots >> m.partition_no) & 1, m.payload, NULL), CRC32(m.id), NULL, NULL, NULL, NULL
FROM (SELECT CAST(? AS SIGNED) AS slots) AS mine
STRAIGHT_JOIN outbox_messages AS m FORCE INDEX (PRIMARY)
WHERE (m.seq > ? AND m.seq <= ?)
    OR (m.seq BETWEEN ? AND ? AND (mine.slots >> m.partition_no) & 1)
ORDER BY m.seq
LIMIT ?)
