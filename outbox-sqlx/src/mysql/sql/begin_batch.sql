-- A repeated begin writes the same again.
REPLACE INTO outbox_journal (epoch, batch_no, alone, places) VALUES (?, ?, ?, ?)
