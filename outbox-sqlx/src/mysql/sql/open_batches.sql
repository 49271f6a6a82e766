-- The open batches of session ?. Plan: a range of the primary key.
SELECT batch_no, places FROM outbox_journal FORCE INDEX (PRIMARY) WHERE epoch = ?
