-- A repeated begin writes the same again.
INSERT INTO outbox_journal (epoch, batch_no, alone, places) VALUES ($1, $2, $3, $4)
ON CONFLICT (batch_no, epoch) DO UPDATE SET alone = excluded.alone, places = excluded.places
