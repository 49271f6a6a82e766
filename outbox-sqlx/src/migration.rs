//! [`Migration`]: a step of a schema, and what may be done with the steps that have run, for every database alike.

use outbox_core::{StoreError, StoreErrorKind};

use crate::statement::with_prefix;

/// A step of the schema, as plain SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migration {
    /// Its number; steps are applied in rising order, each once.
    pub version: i64,
    /// Its name.
    pub name: &'static str,
    /// Its SQL: several statements without `BEGIN` and `COMMIT`, to be run in one transaction. The last one notes
    /// the version in the table `<prefix>schema`, so that it counts as applied whoever ran it. On MySQL and MariaDB
    /// each statement commits by itself; a step that was cut off there can be run again.
    pub sql: String,
}

/// The steps of a database, as files: number, name and text.
pub(crate) type Files = [(i64, &'static str, &'static str)];

/// All steps, with `prefix` (already checked).
pub(crate) fn steps(files: &Files, prefix: &str) -> Vec<Migration> {
    let step = |(version, name, sql): &(i64, &'static str, &str)| Migration {
        version: *version,
        name,
        sql: with_prefix(sql, prefix),
    };
    files.iter().map(step).collect()
}

/// Refuses tables of a newer version: writing into tables one does not know could lose messages.
pub(crate) fn refuse_newer(files: &Files, applied: &[i64]) -> Result<(), StoreError> {
    let known = files.iter().map(|(version, ..)| *version).max().unwrap_or(0);
    match applied.iter().find(|version| **version > known) {
        None => Ok(()),
        Some(newer) => Err(StoreError::new(
            StoreErrorKind::Schema,
            format!(
                "the outbox tables are at version {newer}, this program knows {known}; update the program"
            ),
        )),
    }
}

/// Refuses tables that are newer, or lack a step; `outbox` names the type that applies it.
pub(crate) fn check(files: &Files, applied: &[i64], outbox: &str) -> Result<(), StoreError> {
    refuse_newer(files, applied)?;
    match files.iter().find(|(version, ..)| !applied.contains(version)) {
        None => Ok(()),
        Some((version, name, _)) => Err(StoreError::new(
            StoreErrorKind::Schema,
            format!("the outbox migration {version:04}_{name} is missing; run `{outbox}::migrate`"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &Files = &[(1, "outbox", ""), (2, "second", "")];

    #[test]
    fn tables_that_lack_a_step_are_refused_with_its_name_and_so_are_newer_ones() {
        for (applied, names) in [
            (&[][..], "0001_outbox"),
            (&[1], "0002_second"),
            (&[2], "0001_outbox"),
            (&[1, 2, 3], "version 3"),
        ] {
            let error = check(FILES, applied, "AnOutbox").unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Schema);
            assert!(error.to_string().contains(names), "{error}");
        }
        check(FILES, &[1, 2], "AnOutbox").unwrap();
    }
}
