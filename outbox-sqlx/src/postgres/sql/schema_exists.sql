-- Whether any migration has run.
SELECT to_regclass('outbox_schema') IS NOT NULL
