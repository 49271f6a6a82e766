//! [`Look`]: what a claim needs to know before it takes rows.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::micros::Micros;
use super::snapshot::Snapshot;

/// How many blocked keys a look names. A key that fails for long is one of few; with more, the claim asks for those that
/// it brings.
const FEW: usize = 16;

/// Which keys are blocked.
pub(super) enum Blocked {
    /// By topic and key.
    Few(Vec<(String, String)>),
    Many,
}

impl Blocked {
    /// Topics, and then as many keys.
    fn of(named: Option<Vec<String>>) -> Self {
        let mut topics = named.unwrap_or_default();
        let keys = topics.split_off(topics.len() / 2);
        if keys.len() > FEW { Self::Many } else { Self::Few(topics.into_iter().zip(keys).collect()) }
    }
}

/// The state of the outbox at a moment.
pub(super) struct Look {
    /// In microseconds.
    pub(super) now: i64,
    /// The count of a person's acts; none for a session that is gone.
    pub(super) changes: Option<i64>,
    pub(super) blocked: Blocked,
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
        let (changes, due) = (row.try_get(first + 1)?, row.try_get(first + 3)?);
        let blocked = Blocked::of(row.try_get(first + 2)?);
        Ok(Self { now, changes, blocked, due, snapshot })
    }
}
