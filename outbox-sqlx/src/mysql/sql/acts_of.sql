-- What people did to message ?. Plan: the index on message_id.
SELECT what, who, why, at, failures
FROM outbox_acts FORCE INDEX (outbox_acts_message) WHERE message_id = ? ORDER BY act
