-- One migration at a time; there may be no table yet to lock.
SELECT pg_advisory_xact_lock(hashtextextended('outbox_schema', 0))
