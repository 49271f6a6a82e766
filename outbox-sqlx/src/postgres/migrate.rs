//! The tables and their versions.

use outbox_core::StoreError;
use sqlx::{AssertSqlSafe, PgConnection};

use super::connection::{InUse, OwnConnection};
use super::error::store_error;
use super::statements::Statements;
use crate::Migration;
use crate::migration::{self, Files};

const MIGRATIONS: &Files = &[(1, "outbox", include_str!("../../migrations/postgres/0001_outbox.sql"))];

/// All steps, with `prefix` (already checked).
pub(super) fn migrations(prefix: &str) -> Vec<Migration> {
    migration::steps(MIGRATIONS, prefix)
}

/// Applies the steps that are missing, in one transaction that other processes wait for.
pub(super) async fn migrate(own: &OwnConnection, sql: &Statements, prefix: &str) -> Result<(), StoreError> {
    let mut own = own.take_any().await?;
    let failed = |error| store_error("migrate the outbox tables", error);
    let mut tx = own.transaction().await.map_err(failed)?;
    sql.lock_schema.query().execute(&mut *tx).await.map_err(failed)?;
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
pub(super) async fn check(own: &mut InUse<'_>, sql: &Statements) -> Result<(), StoreError> {
    let failed = |error| store_error("check the outbox tables", error);
    let mut work = own.statements().await.map_err(failed)?;
    let applied = applied(&mut work, sql).await.map_err(failed)?;
    work.done().await.map_err(failed)?;
    migration::check(MIGRATIONS, &applied, "PostgresOutbox")
}

async fn applied(connection: &mut PgConnection, sql: &Statements) -> Result<Vec<i64>, sqlx::Error> {
    let exists: bool = sql.schema_exists.scalar().fetch_one(&mut *connection).await?;
    if !exists {
        return Ok(Vec::new());
    }
    sql.schema_version.scalar().fetch_all(connection).await
}
