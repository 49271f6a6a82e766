-- Dead letters that a person redrives ($1) count their age from now ($2) on. Plan: the list, and a lookup by primary
-- key each.
UPDATE outbox_deferred SET not_before = $2
WHERE seq = ANY ($1) AND state IN ('dead', 'parked')
