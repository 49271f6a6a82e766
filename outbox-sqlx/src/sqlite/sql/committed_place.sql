-- The highest place ever given, as committed. Plan: sqlite_sequence has one row per table.
SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'outbox_messages'
