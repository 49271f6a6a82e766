-- A session takes the slots ? (a bit each). Plan: the sixteen leases, which the transaction has locked.
UPDATE outbox_leases SET epoch = ? WHERE (CAST(? AS SIGNED) >> slot) & 1
