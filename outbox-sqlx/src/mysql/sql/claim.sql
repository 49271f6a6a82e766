-- Fresh messages after a place up to another, of whatever slot, since every place must be known; of those in other
-- slots than ours (a bit each) the columns are left out. And those that turned up in the gaps below, if they are ours:
-- the line is there once for each gap. In one statement, so that nothing above is seen without what was committed
-- before it below. Plan: as many ranges of the primary key, in its order.
SELECT m.seq, m.partition_no, IF((mine.slots >> m.partition_no) & 1, m.id, NULL),
    IF((mine.slots >> m.partition_no) & 1, m.topic, NULL),
    IF((mine.slots >> m.partition_no) & 1, m.message_type, NULL),
    IF((mine.slots >> m.partition_no) & 1, m.message_key, NULL),
    IF((mine.slots >> m.partition_no) & 1, m.content_type, NULL),
    IF((mine.slots >> m.partition_no) & 1, m.headers, NULL),
    IF((mine.slots >> m.partition_no) & 1, m.idempotency_key, NULL),
    IF((mine.slots >> m.partition_no) & 1, m.not_before, NULL),
    IF((mine.slots >> m.partition_no) & 1, m.created_at, NULL),
    IF((mine.slots >> m.partition_no) & 1, m.payload, NULL), CRC32(m.id)
FROM (SELECT CAST(? AS SIGNED) AS slots) AS mine
STRAIGHT_JOIN outbox_messages AS m FORCE INDEX (PRIMARY)
WHERE (m.seq > ? AND m.seq <= ?)
    OR (m.seq BETWEEN ? AND ? AND (mine.slots >> m.partition_no) & 1)
ORDER BY m.seq
LIMIT ?
