-- One migration at a time, in a database; there may be no table yet to lock.
SELECT GET_LOCK(CONCAT('outbox ', MD5(CONCAT(DATABASE(), ' ', ?))), 60)
