-- Whether any of these places is in flight. Plan: the few journal rows.
SELECT EXISTS (SELECT FROM outbox_journal AS j WHERE j.places && $1)
