-- Session $1 gives the slots $2 back. Plan: the sixteen leases.
UPDATE outbox_leases SET epoch = NULL WHERE epoch = $1 AND slot = ANY ($2)
