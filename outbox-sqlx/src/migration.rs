//! [`Migration`]: a step of a schema, for every database alike.

/// A step of the schema, as plain SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migration {
    /// Its number; steps are applied in rising order, each once.
    pub version: i64,
    /// Its name.
    pub name: &'static str,
    /// Its SQL: several statements without `BEGIN` and `COMMIT`, to be run in one transaction. The last one notes
    /// the version in the table `<prefix>schema`, so that it counts as applied whoever ran it.
    pub sql: String,
}
