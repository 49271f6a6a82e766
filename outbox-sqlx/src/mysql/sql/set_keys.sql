-- The topics and idempotency keys to look for.
SET @outbox_keys = {keys}
