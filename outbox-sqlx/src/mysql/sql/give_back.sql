-- A session gives the slots ? (a bit each) back. Plan: the sixteen leases, which the transaction has locked.
UPDATE outbox_leases SET epoch = NULL WHERE epoch = ? AND (CAST(? AS SIGNED) >> slot) & 1
