//! The tables and their versions.

use outbox_core::{StoreError, StoreErrorKind};
use sqlx::{AssertSqlSafe, MySqlConnection};

use super::connection::OwnConnection;
use super::error::{is_missing, store_error};
use super::statements::Statements;
use crate::Migration;
use crate::migration::{self, Files};

const MIGRATIONS: &Files = &[(1, "outbox", include_str!("../../migrations/mysql/0001_outbox.sql"))];

/// All steps, with `prefix` (already checked).
pub(super) fn migrations(prefix: &str) -> Vec<Migration> {
    migration::steps(MIGRATIONS, prefix)
}

/// Applies the steps that are missing, while other processes wait. No transaction holds them together, since each
/// statement that defines something commits; a step notes itself last, and can be run again.
pub(super) async fn migrate(own: &OwnConnection, sql: &Statements, prefix: &str) -> Result<(), StoreError> {
    let mut connection = own.open().await?;
    let failed = |error| store_error("migrate the outbox tables", error);
    // Let go with the connection, at the end or when this is dropped half-way.
    let locked: Option<i64> = sqlx::query_scalar(sql.lock_schema.clone())
        .bind(prefix)
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    if locked != Some(1) {
        return Err(StoreError::new(
            StoreErrorKind::Unavailable,
            "another process has been migrating the outbox tables for a minute; wait for it and try again",
        ));
    }
    let applied = applied(&mut connection, sql).await.map_err(failed)?;
    migration::refuse_newer(MIGRATIONS, &applied)?;
    for migration in migrations(prefix) {
        if !applied.contains(&migration.version) {
            // Our own files and the checked prefix, no data.
            sqlx::raw_sql(AssertSqlSafe(migration.sql)).execute(&mut connection).await.map_err(failed)?;
            tracing::info!(version = migration.version, name = migration.name, "applied an outbox migration");
        }
    }
    Ok(())
}

/// Answers an error that names the first missing step.
pub(super) async fn check(connection: &mut MySqlConnection, sql: &Statements) -> Result<(), StoreError> {
    let applied =
        applied(connection, sql).await.map_err(|error| store_error("check the outbox tables", error))?;
    migration::check(MIGRATIONS, &applied, "MySqlOutbox")
}

async fn applied(connection: &mut MySqlConnection, sql: &Statements) -> Result<Vec<i64>, sqlx::Error> {
    match sqlx::query_scalar(sql.schema_version.clone()).fetch_all(connection).await {
        Err(error) if is_missing(&error) => Ok(Vec::new()),
        applied => applied,
    }
}
