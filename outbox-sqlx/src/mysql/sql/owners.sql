-- The sessions that own slots, in their order. Plan: the sixteen leases.
SELECT DISTINCT epoch FROM outbox_leases WHERE epoch IS NOT NULL ORDER BY epoch
