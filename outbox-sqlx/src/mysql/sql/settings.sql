-- What holds for every connection of our own; connection.rs says why. The servers read each its own comments. MySQL ends
-- only reads by such a limit; its writes wait for locks no longer than the settings say.
SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
SET NAMES utf8mb4,
    SESSION autocommit = 1,
    time_zone = '+00:00',
    sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',
    innodb_lock_wait_timeout = 5,
    lock_wait_timeout = 5,
    wait_timeout = 60
    /*!80000 , information_schema_stats_expiry = 0, max_execution_time = {seconds}000 */
    /*M!100600 , idle_transaction_timeout = {idle}, max_statement_time = {seconds} */
