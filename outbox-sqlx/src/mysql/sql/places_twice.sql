-- The places in {ranges} of which committed messages lie, and then all of which any lie, committed or not: what the
-- second list has beyond the first was written by a transaction that was still open.
-- Plan: as many ranges of the primary key, in its order; the slots are there for the reason that look.sql gives.
SELECT seq, partition_no FROM outbox_messages FORCE INDEX (PRIMARY) WHERE {ranges} ORDER BY seq LIMIT {limit};
SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;
SELECT seq, partition_no FROM outbox_messages FORCE INDEX (PRIMARY) WHERE {ranges} ORDER BY seq LIMIT {limit}
