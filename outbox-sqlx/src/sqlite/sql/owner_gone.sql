-- Whether the outbox has no owner, or one that ran out or ended. Plan: one row, and a lookup by primary key.
SELECT theirs.epoch IS NULL OR theirs.fenced_at IS NOT NULL OR theirs.expires_at <= ?1
FROM outbox_state
LEFT JOIN outbox_sessions AS theirs ON theirs.epoch = outbox_state.owner
