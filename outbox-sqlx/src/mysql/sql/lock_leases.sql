-- Slots change hands, and people act, one after another. Settlements go on meanwhile: they read without locks.
SELECT slot FROM outbox_leases FORCE INDEX (PRIMARY) ORDER BY slot FOR UPDATE
