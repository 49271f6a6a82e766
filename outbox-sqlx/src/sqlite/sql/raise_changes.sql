-- The owner learns that what it holds in memory may have changed.
UPDATE outbox_state SET changes = changes + 1
