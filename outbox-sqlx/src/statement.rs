//! The SQL files of a database and the table prefix in them, for every database alike.

use std::sync::Arc;

use outbox_core::{StoreError, StoreErrorKind};
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// What stands for the table prefix in the SQL files, and the default one.
pub(crate) const DEFAULT_PREFIX: &str = "outbox_";

/// Defines `Statements`, with a field for each file in the folder `sql` beside the module that calls it. Before the
/// names of the files come the fields that are made otherwise, of the prefix, each with its type and a function.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
macro_rules! statements {
    ($($(#[$doc:meta])* $extra:ident: $type:ty = $make:path,)* ; $($name:ident)*) => {
        /// Every statement of an outbox, ready to run.
        #[derive(Debug)]
        pub(super) struct Statements {
            $($(#[$doc])* pub(super) $extra: $type,)*
            $(pub(super) $name: sqlx::SqlStr,)*
        }

        impl Statements {
            /// The statements of the outbox with `prefix`, which `check_prefix` has let pass.
            pub(super) fn new(prefix: &str) -> Self {
                Self {
                    $($extra: $make(prefix),)*
                    $($name: $crate::statement::statement(
                        include_str!(concat!("sql/", stringify!($name), ".sql")), prefix),)*
                }
            }
        }

        #[cfg(test)]
        impl Statements {
            /// The statements by the name of their files.
            pub(super) fn all(&self) -> Vec<(&'static str, &sqlx::SqlStr)> {
                vec![$((stringify!($name), &self.$name)),*]
            }
        }

        #[cfg(test)]
        #[test]
        fn statements_carry_the_prefix_everywhere() {
            for (name, sql) in Statements::new("other_").all() {
                assert!(!sql.as_str().contains($crate::statement::DEFAULT_PREFIX), "{name}");
            }
        }
    };
}
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(crate) use statements;

/// Refuses a prefix that could be anything but the beginning of a plain name.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), StoreError> {
    let mut bytes = prefix.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let rest = bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if first && rest && prefix.len() <= 40 {
        return Ok(());
    }
    Err(StoreError::new(
        StoreErrorKind::Invalid,
        format!(
            "the table prefix {prefix:?} is refused; take at most 40 ASCII letters, digits and underscores, \
             not beginning with a digit"
        ),
    ))
}

/// `text` with `prefix` in the place of the default one.
pub(crate) fn with_prefix(text: &str, prefix: &str) -> String {
    text.replace(DEFAULT_PREFIX, prefix)
}

/// A file without its comments, with `prefix`. Only file contents and the checked prefix get here, never data.
pub(crate) fn statement(text: &str, prefix: &str) -> SqlStr {
    let code: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
    AssertSqlSafe(Arc::<str>::from(with_prefix(&code.join("\n"), prefix))).into_sql_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken_as_prefix() {
        for good in ["outbox_", "_", "a", "Orders2_", &"x".repeat(40)] {
            assert!(check_prefix(good).is_ok(), "{good:?}");
        }
        for bad in ["", "2x", "a-b", "a b", "a.b", "a\"b", "x; DROP TABLE y; --", "ä", &"x".repeat(41)] {
            assert!(check_prefix(bad).is_err(), "{bad:?}");
        }
    }
}
