-- Of the rows that are as old as ? microseconds, the oldest ?: looked up without locks, so that nobody who writes is in
-- the way. Plan: the oldest entries of the index on ended_at, and a lookup by primary key each.
DELETE kept
FROM (
    SELECT seq FROM outbox_history FORCE INDEX (outbox_history_ended)
    WHERE ended_at <= TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) - ?
    ORDER BY ended_at LIMIT ?) AS old
STRAIGHT_JOIN outbox_history AS kept FORCE INDEX (PRIMARY) ON kept.seq = old.seq
