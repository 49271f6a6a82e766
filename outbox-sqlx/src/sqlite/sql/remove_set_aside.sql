-- The fresh rows that were just set aside. Plan: the list, and a lookup by primary key each.
DELETE FROM outbox_messages WHERE seq IN (SELECT v.value ->> 0 FROM json_each(?1) AS v)
