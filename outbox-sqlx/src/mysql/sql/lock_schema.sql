-- One migration at a time, in a database; there may be no table yet to lock. The name of a lock has 64 characters at
-- most. MySQL has no MD5 and no SHA1 from 9.6 on.
SELECT GET_LOCK(CONCAT('outbox ', LEFT(SHA2(CONCAT(DATABASE(), ' ', ?), 256), 40)), 60)
