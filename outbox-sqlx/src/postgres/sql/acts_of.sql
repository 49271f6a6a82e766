-- What people did to message $1. Plan: the index on message_id.
SELECT what, who, why, at, failures::text FROM outbox_acts WHERE message_id = $1 ORDER BY act
