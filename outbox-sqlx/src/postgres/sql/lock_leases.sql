-- Slots change hands, and people act, one after another. Settlements go on meanwhile: they read the leases.
LOCK TABLE outbox_leases IN SHARE ROW EXCLUSIVE MODE
