//! [`Look`]: what a claim needs to know before it takes rows.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::micros::Micros;
use super::snapshot::Snapshot;

/// The state of the outbox at a moment.
pub(super) struct Look {
    /// In microseconds.
    pub(super) now: i64,
    /// The count of a person's acts; none for a session that is gone.
    pub(super) changes: Option<i64>,
    /// A key may be blocked.
    pub(super) blocked: bool,
    /// Something set aside is due, or will be.
    pub(super) due: bool,
    pub(super) snapshot: Snapshot,
}

impl Look {
    /// Reads the five columns from `first` on.
    pub(super) fn of(row: &PgRow, first: usize) -> Result<Self, sqlx::Error> {
        let Micros(now) = row.try_get(first)?;
        let snapshot = Snapshot::parse(row.try_get(first + 4)?)
            .ok_or_else(|| sqlx::Error::Decode("the snapshot has an unknown form".into()))?;
        let (changes, blocked, due) =
            (row.try_get(first + 1)?, row.try_get(first + 2)?, row.try_get(first + 3)?);
        Ok(Self { now, changes, blocked, due, snapshot })
    }
}
