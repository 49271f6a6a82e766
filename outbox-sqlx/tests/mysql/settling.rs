//! Settlements that meet what they do not expect: an earlier try of their own.

use outbox_sqlx::MySqlOutbox;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::fixture::{Database, message};
use crate::proxy::Proxy;

#[path = "../late/settlement.rs"]
mod settlement;

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_settlement_that_is_carried_out_late_begins_nothing_that_is_over() {
    for reads_first in [false, true] {
        let database = Database::new().await;
        let (proxy, url) = Proxy::before(&std::env::var("TEST_MYSQL_URL").unwrap()).await;
        let options: MySqlConnectOptions = url.parse().unwrap();
        let pool = MySqlPoolOptions::new().connect_with(options.database(&database.name)).await.unwrap();
        database.send(&[message("a", "1"), message("b", "2")]).await;
        let connections = async || database.processes().await.into_iter().map(|(id, _)| id).collect();
        let open = async || {
            database.number("SELECT CAST(COALESCE(SUM(batch_no), 0) AS SIGNED) FROM outbox_journal").await
        };
        settlement::begins_nothing_that_is_over(
            &MySqlOutbox::new(pool),
            &database.outbox,
            &proxy,
            connections,
            open,
            reads_first,
        )
        .await;
    }
}
