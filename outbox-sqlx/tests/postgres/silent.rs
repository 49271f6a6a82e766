//! A server that goes silent and closes nothing: every call ends all the same, and nobody is kept waiting for long.

use std::time::Duration;

use outbox_core::{
    Act, DispatcherId, Enqueue, OutboxAdmin, OutboxStore, PageRequest, Selection, StoreErrorKind,
};
use outbox_sqlx::PostgresOutbox;
use sqlx::postgres::PgPoolOptions;

use crate::fixture::{Schema, message};
use crate::proxy;

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn every_call_ends_on_a_server_that_goes_silent() {
    let schema = Schema::new().await;
    let (proxy, url) = proxy::Proxy::before(&std::env::var("TEST_POSTGRES_URL").unwrap()).await;
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    let options = options.options([("search_path", &schema.name)]);
    let pool = PgPoolOptions::new().connect_with(options).await.unwrap();
    let outbox = PostgresOutbox::new(pool.clone());
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
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn of_a_commit_that_the_server_ended_the_outcome_is_unknown() {
    let schema = Schema::new().await;
    let mut tx = schema.outbox.begin().await.unwrap();
    schema.outbox.enqueue(&mut tx, &[message("k", "1")]).await.unwrap();
    schema.cut().await;
    let error = schema.outbox.commit(tx).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.to_string().contains("unknown whether the transaction was committed"), "{error}");
    let database = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<sqlx::Error>());
    assert!(matches!(database, Some(sqlx::Error::Database(_) | sqlx::Error::Io(_))), "{database:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn the_locks_of_a_dispatcher_that_went_silent_are_gone_when_its_lease_is() {
    const LEASE: Duration = Duration::from_secs(1);
    let schema = Schema::new().await;
    let (proxy, url) = proxy::Proxy::before(&std::env::var("TEST_POSTGRES_URL").unwrap()).await;
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    let options = options.options([("search_path", &schema.name)]).application_name(&schema.name);
    let silent = PostgresOutbox::new(PgPoolOptions::new().connect_with(options).await.unwrap());

    // It starts a session, and so holds the lock under which slots change hands, while somebody else is in its way.
    let mut in_its_way = schema.pool.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE outbox_sessions IN SHARE MODE").execute(&mut *in_its_way).await.unwrap();
    let starting = tokio::spawn(async move { silent.renew(&DispatcherId::new("silent"), None, LEASE).await });
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'outbox_sessions'::regclass";
    while schema.number(waits).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    proxy.silence();
    in_its_way.commit().await.unwrap();

    // Whoever wants that lock gives up after five seconds.
    let successor = schema.outbox.renew(&DispatcherId::new("successor"), None, LEASE).await.unwrap();
    assert_eq!(successor.slots.len(), 16);
    starting.abort();
}
