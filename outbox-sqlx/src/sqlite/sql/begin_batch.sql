-- A repeated begin writes the same again.
INSERT OR REPLACE INTO outbox_journal (epoch, batch_no, alone, places) VALUES (?1, ?2, ?3, ?4)
