-- Plan: a lookup by primary key each.
DELETE FROM outbox_journal WHERE epoch = $1 AND batch_no = ANY ($2)
