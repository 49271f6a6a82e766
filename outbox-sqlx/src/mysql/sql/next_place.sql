-- The place that the next message gets. Plan: the description of one table.
SELECT CAST(AUTO_INCREMENT AS SIGNED) FROM information_schema.TABLES
WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'outbox_messages'
