-- A page, in order of place: of each table, if it is wanted (?), what comes after ?, of topic ?, in state ? (these may
-- be NULL for any), at most ?. Plan: a range of the primary key of each table; one that is not wanted is not read.
(SELECT m.seq, m.id, m.topic, m.message_type, m.message_key,
        IF(m.not_before > TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)),
            'scheduled', 'waiting') AS state_now,
        0, 0, FALSE, '[]', NULL, m.created_at, m.not_before
 FROM outbox_messages AS m FORCE INDEX (PRIMARY)
 WHERE ? AND m.seq > ? AND COALESCE(m.topic = ?, TRUE)
 HAVING COALESCE(state_now = ?, TRUE)
 ORDER BY seq LIMIT ?)
UNION ALL
(SELECT d.seq, d.id, d.topic, d.message_type, d.message_key,
        CASE WHEN d.state <> 'waiting' THEN d.state
            WHEN d.due_at IS NOT NULL AND (d.attempts > 0 OR d.crashes > 0 OR d.in_doubt) THEN 'retrying'
            ELSE 'behind' END AS state_now,
        d.attempts, d.crashes, d.in_doubt, d.failures, NULL, d.created_at, d.due_at
 FROM outbox_deferred AS d FORCE INDEX (PRIMARY)
 WHERE ? AND d.seq > ? AND COALESCE(d.topic = ?, TRUE)
 HAVING COALESCE(state_now = ?, TRUE)
 ORDER BY seq LIMIT ?)
UNION ALL
(SELECT h.seq, h.id, h.topic, h.message_type, h.message_key,
        h.state AS state_now,
        h.attempts, h.crashes, h.in_doubt, h.failures, h.receipt, h.created_at, NULL
 FROM outbox_history AS h FORCE INDEX (PRIMARY)
 WHERE ? AND h.seq > ? AND COALESCE(h.topic = ?, TRUE)
 HAVING COALESCE(state_now = ?, TRUE)
 ORDER BY seq LIMIT ?)
ORDER BY seq
LIMIT ?
