-- Of the rows that are as old as ? microseconds, the oldest ?: looked up without locks, so that nobody who writes is in
-- the way. Plan: the oldest entries of the index on at, and a lookup by primary key each.
DELETE kept
FROM (
    SELECT act FROM outbox_acts FORCE INDEX (outbox_acts_at)
    WHERE at <= TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) - ?
    ORDER BY at LIMIT ?) AS old
STRAIGHT_JOIN outbox_acts AS kept FORCE INDEX (PRIMARY) ON kept.act = old.act
