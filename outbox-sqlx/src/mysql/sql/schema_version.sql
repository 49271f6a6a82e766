-- The migrations that have run. Plan: a few rows.
SELECT version FROM outbox_schema ORDER BY version
