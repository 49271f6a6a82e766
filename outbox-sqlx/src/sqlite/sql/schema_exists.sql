-- Whether any migration has run. Plan: the schema table.
SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'outbox_schema')
