//! A server that goes silent and closes nothing: every call ends all the same, and nobody is kept waiting for long.

use std::time::Duration;

use outbox_core::{
    Act, DispatcherId, Enqueue, OutboxAdmin, OutboxStore, PageRequest, Selection, StoreErrorKind,
};
use outbox_sqlx::MySqlOutbox;
use sqlx::mysql::MySqlPoolOptions;

use crate::fixture::{Database, message};
use crate::proxy;

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn every_call_ends_on_a_server_that_goes_silent() {
    let database = Database::new().await;
    let (proxy, url) = proxy::Proxy::before(&std::env::var("TEST_MYSQL_URL").unwrap()).await;
    let options: sqlx::mysql::MySqlConnectOptions = url.parse().unwrap();
    let options = options.database(&database.name);
    let pool = MySqlPoolOptions::new().connect_with(options).await.unwrap();
    let outbox = MySqlOutbox::new(pool.clone());
    outbox.migrate().await.unwrap();
    let mut tx = outbox.begin().await.unwrap();
    outbox.enqueue(&mut tx, &[message("k", "1")]).await.unwrap();
    outbox.counts().await.unwrap();

    proxy.silence();
    // Time stands still, and jumps to the next deadline wherever all wait.
    tokio::time::pause();
    let error = outbox.commit(tx).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.to_string().contains("unknown whether the transaction was committed"), "{error}");
    let (why, all) = (Act::new("somebody", "a test"), Selection::All { topic: None, state: None });
    let failed = [
        outbox.begin().await.map(drop),
        outbox.migrate().await,
        outbox.counts().await.map(drop),
        outbox.list(&PageRequest::default()).await.map(drop),
        outbox.discard(&all, &why).await.map(drop),
        outbox.redrive(&Selection::Ids(vec![outbox_core::MessageId::generate()]), &why).await.map(drop),
        outbox.purge_history(Duration::ZERO, 1).await.map(drop),
    ];
    for failed in failed {
        assert_eq!(failed.unwrap_err().kind(), StoreErrorKind::Unavailable);
    }

    tokio::time::resume();
    proxy.heal();
    outbox.migrate().await.unwrap();
    outbox.begin().await.unwrap();
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn of_a_commit_that_the_server_ended_the_outcome_is_unknown() {
    let database = Database::new().await;
    let mut tx = database.outbox.begin().await.unwrap();
    database.outbox.enqueue(&mut tx, &[message("k", "1")]).await.unwrap();
    database.cut().await;
    let error = database.outbox.commit(tx).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.to_string().contains("unknown whether the transaction was committed"), "{error}");
    let database = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<sqlx::Error>());
    assert!(matches!(database, Some(sqlx::Error::Database(_) | sqlx::Error::Io(_))), "{database:?}");
}

/// MySQL ends no transaction that idles, only a connection, after a minute.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn the_locks_of_a_dispatcher_that_went_silent_are_gone_when_its_lease_is() {
    const LEASE: Duration = Duration::from_secs(1);
    let database = Database::new().await;
    let (proxy, url) = proxy::Proxy::before(&std::env::var("TEST_MYSQL_URL").unwrap()).await;
    let options: sqlx::mysql::MySqlConnectOptions = url.parse().unwrap();
    let pool = MySqlPoolOptions::new().connect_with(options.database(&database.name)).await.unwrap();
    let silent = MySqlOutbox::new(pool);

    // It starts a session, and so holds the locks under which slots change hands, while somebody else is in its way.
    let mut in_its_way = database.pool.acquire().await.unwrap();
    sqlx::raw_sql("LOCK TABLES outbox_sessions READ").execute(&mut *in_its_way).await.unwrap();
    let starting = tokio::spawn(async move { silent.renew(&DispatcherId::new("silent"), None, LEASE).await });
    let waits = |(_, state): &(i64, String)| state.starts_with("Waiting for table metadata lock");
    while !database.processes().await.iter().any(waits) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    proxy.silence();
    sqlx::raw_sql("UNLOCK TABLES").execute(&mut *in_its_way).await.unwrap();

    // Whoever wants those locks is told after five seconds that they did not come.
    let wanted = "SET SESSION innodb_lock_wait_timeout = 5; SELECT slot FROM outbox_leases FOR UPDATE";
    for _ in 1..if database.is_mariadb().await { 1 } else { 14 } {
        let _ = sqlx::raw_sql(wanted).execute(&mut *in_its_way).await;
    }
    sqlx::raw_sql(wanted).execute(&mut *in_its_way).await.unwrap();
    starting.abort();
}
