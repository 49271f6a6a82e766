-- The places of messages that have not ended: of the fresh ones and of those set aside, each if it is wanted (?), after
-- ?, of topic ? (NULL for any), in one of the states ?, at most ?.
-- Plan: a range of the primary key of each table; one that is not wanted is not read.
(SELECT m.seq
 FROM outbox_messages AS m FORCE INDEX (PRIMARY)
 WHERE ? AND m.seq > ? AND COALESCE(m.topic = ?, TRUE)
    AND FIND_IN_SET(
        IF(m.not_before > TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)), 'scheduled', 'waiting'), ?)
 ORDER BY m.seq LIMIT ?)
UNION ALL
(SELECT d.seq
 FROM outbox_deferred AS d FORCE INDEX (PRIMARY)
 WHERE ? AND d.seq > ? AND COALESCE(d.topic = ?, TRUE)
    AND FIND_IN_SET(
        CASE WHEN d.state <> 'waiting' THEN d.state
            WHEN d.due_at IS NOT NULL AND (d.attempts > 0 OR d.crashes > 0 OR d.in_doubt) THEN 'retrying'
            ELSE 'behind' END, ?)
 ORDER BY d.seq LIMIT ?)
ORDER BY seq
LIMIT ?
