-- Removes the rows that old_history.sql found, unless one was written anew since: those that are as old as ? microseconds.
-- Plan: the list, and a lookup by primary key each.
DELETE kept
FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$[0]')) AS old
STRAIGHT_JOIN outbox_history AS kept FORCE INDEX (PRIMARY)
    ON kept.seq = old.seq
WHERE kept.ended_at <= TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) - ?
