-- What was set aside is not in flight any more. Plan: a lookup by primary key.
UPDATE outbox_journal SET places = ? WHERE epoch = ? AND batch_no = ?
