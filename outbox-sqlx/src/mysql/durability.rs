//! Whether the server makes commits durable: what is delivered must not be taken back by a crash of the server.

use sqlx::MySqlConnection;

use super::statements::Statements;

/// Logs a warning where a crash of the server could take back what was delivered. Producers commit on connections of
/// their own, and the setting is the server's: so the outbox cannot enforce it.
pub(super) async fn check(connection: &mut MySqlConnection, sql: &Statements) {
    // Where the server does not tell, nothing can be said.
    if let Ok((flush, log_bin, sync_binlog)) =
        sqlx::query_as(sql.durability.clone()).fetch_one(connection).await
        && let Some(lack) = lack(flush, log_bin, sync_binlog)
    {
        tracing::warn!("{lack}");
    }
}

/// What is wrong with the settings, if anything:
/// <https://dev.mysql.com/doc/refman/8.0/en/innodb-parameters.html#sysvar_innodb_flush_log_at_trx_commit>.
fn lack(flush: i64, log_bin: i64, sync_binlog: i64) -> Option<&'static str> {
    // MariaDB's 3 flushes more often than 1.
    if !matches!(flush, 1 | 3) {
        return Some(
            "the server does not make commits durable: a crash could take back messages that were delivered; set \
             innodb_flush_log_at_trx_commit to 1",
        );
    }
    if log_bin != 0 && sync_binlog != 1 {
        return Some(
            "the server's binary log may lack commits after a crash: a replica could miss messages that were \
             delivered; set sync_binlog to 1",
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_whose_commits_are_not_durable_is_told() {
        assert!(lack(0, 0, 0).is_some_and(|text| text.contains("innodb_flush_log_at_trx_commit")));
        assert!(lack(2, 1, 1).is_some_and(|text| text.contains("innodb_flush_log_at_trx_commit")));
        assert!(lack(1, 1, 0).is_some_and(|text| text.contains("sync_binlog")));
        assert_eq!(lack(1, 1, 1), None);
        assert_eq!(lack(1, 0, 0), None, "without a binary log there is nothing to sync");
    }
}
