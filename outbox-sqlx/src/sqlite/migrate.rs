//! The tables and their versions.

use outbox_core::StoreError;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::connection::OwnConnection;
use super::error::store_error;
use super::statements::Statements;
use crate::Migration;
use crate::migration::{self, Files};

const MIGRATIONS: &Files = &[(1, "outbox", include_str!("../../migrations/sqlite/0001_outbox.sql"))];

/// All steps, with `prefix` (already checked).
pub(super) fn migrations(prefix: &str) -> Vec<Migration> {
    migration::steps(MIGRATIONS, prefix)
}

/// Applies the steps that are missing, in one transaction that other processes wait for. Where none is missing, as at
/// most starts, it waits for nobody who writes.
pub(super) async fn migrate(own: &OwnConnection, sql: &Statements, prefix: &str) -> Result<(), StoreError> {
    let mut connection = own.open().await?;
    let failed = |error| store_error("migrate the outbox tables", error);
    let already = applied(&mut connection, sql).await.map_err(failed)?;
    if migration::check(MIGRATIONS, &already, "SqliteOutbox").is_ok() {
        return Ok(());
    }
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let applied = applied(&mut tx, sql).await.map_err(failed)?;
    migration::refuse_newer(MIGRATIONS, &applied)?;
    for migration in migrations(prefix) {
        if !applied.contains(&migration.version) {
            // Our own files and the checked prefix, no data.
            sqlx::raw_sql(AssertSqlSafe(migration.sql)).execute(&mut *tx).await.map_err(failed)?;
            tracing::info!(version = migration.version, name = migration.name, "applied an outbox migration");
        }
    }
    tx.commit().await.map_err(failed)
}

/// Answers an error that names the first missing step.
pub(super) async fn check(connection: &mut SqliteConnection, sql: &Statements) -> Result<(), StoreError> {
    let applied =
        applied(connection, sql).await.map_err(|error| store_error("check the outbox tables", error))?;
    migration::check(MIGRATIONS, &applied, "SqliteOutbox")
}

async fn applied(connection: &mut SqliteConnection, sql: &Statements) -> Result<Vec<i64>, sqlx::Error> {
    let exists: bool = sqlx::query_scalar(sql.schema_exists.clone()).fetch_one(&mut *connection).await?;
    if !exists {
        return Ok(Vec::new());
    }
    sqlx::query_scalar(sql.schema_version.clone()).fetch_all(connection).await
}
