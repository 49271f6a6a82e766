-- All that is in flight. Plan: the few journal rows.
SELECT places FROM outbox_journal
