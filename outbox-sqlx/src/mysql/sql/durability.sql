-- How durable the server makes a commit: https://dev.mysql.com/doc/refman/8.0/en/innodb-parameters.html
SELECT CAST(@@GLOBAL.innodb_flush_log_at_trx_commit AS SIGNED), CAST(@@GLOBAL.log_bin AS SIGNED),
    CAST(@@GLOBAL.sync_binlog AS SIGNED)
