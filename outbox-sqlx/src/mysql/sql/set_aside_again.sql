-- Verdicts of ? on messages that were set aside before; NULL in what happened to them keeps what is there.
-- Plan: the list, and a lookup by primary key each.
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (
    seq BIGINT PATH '$[0]',
    state VARCHAR(16) CHARACTER SET utf8mb4 PATH '$[1]',
    due_at BIGINT PATH '$[2]',
    attempts INT PATH '$[3]',
    crashes INT PATH '$[4]',
    in_doubt TINYINT PATH '$[5]',
    failures LONGTEXT CHARACTER SET utf8mb4 PATH '$[6]')) AS v
STRAIGHT_JOIN outbox_deferred AS d FORCE INDEX (PRIMARY) ON d.seq = v.seq
SET d.state = v.state,
    d.due_at = v.due_at,
    d.attempts = COALESCE(v.attempts, d.attempts),
    d.crashes = COALESCE(v.crashes, d.crashes),
    d.in_doubt = COALESCE(v.in_doubt, d.in_doubt),
    d.failures = COALESCE(v.failures, d.failures),
    d.set_aside_at = ?
