-- Plan: the oldest entries of the index on at.
DELETE FROM outbox_acts WHERE act IN (SELECT act FROM outbox_acts WHERE at <= ?1 ORDER BY at LIMIT ?2)
