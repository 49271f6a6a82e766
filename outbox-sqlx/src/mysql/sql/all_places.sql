-- The fresh messages that the connection sees. Plan: reads the fresh messages through.
SELECT seq FROM outbox_messages
