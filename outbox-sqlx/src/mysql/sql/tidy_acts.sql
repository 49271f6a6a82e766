-- Removes the rows that old_acts.sql found, unless one was written anew since: those that are as old as ? microseconds.
-- Plan: the list, and a lookup by primary key each.
DELETE kept
FROM JSON_TABLE(?, '$[*]' COLUMNS (act BIGINT PATH '$[0]')) AS old
STRAIGHT_JOIN outbox_acts AS kept FORCE INDEX (PRIMARY)
    ON kept.act = old.act
WHERE kept.at <= TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) - ?
