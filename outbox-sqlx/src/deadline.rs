//! How long the calls of producers and of people may take, when the server answers nothing and closes nothing. The
//! dispatcher has deadlines of its own.

use std::time::Duration;

use outbox_core::{StoreError, StoreErrorKind};
use tokio::time::timeout;

/// For the statement that begins a transaction, beyond the wait for a connection of the pool.
pub(crate) const BEGIN: Duration = Duration::from_secs(10);

/// For a commit, which may wait for other servers.
pub(crate) const COMMIT: Duration = Duration::from_secs(60);

/// For a look into the outbox, an act of a person (or one of its steps), and a migration.
pub(crate) const ADMIN: Duration = Duration::from_secs(300);

/// The answer of `call`, which wants to `what`, within `deadline`.
pub(crate) async fn within<T>(
    deadline: Duration,
    what: &str,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(deadline, call).await.unwrap_or_else(|_late| {
        let text = format!(
            "could not {what}: the server did not answer within {deadline:?}; check it and try again"
        );
        Err(StoreError::new(StoreErrorKind::Unavailable, text))
    })
}

/// Waits for `commit`. Where no answer comes, or the server answers by an error that is `lost`, says that nobody knows
/// what became of the transaction; `otherwise` tells of other errors.
pub(crate) async fn commit(
    commit: impl Future<Output = Result<(), sqlx::Error>>,
    lost: impl FnOnce(&sqlx::Error) -> bool,
    otherwise: impl FnOnce(sqlx::Error) -> StoreError,
) -> Result<(), StoreError> {
    const UNKNOWN: &str = "it is unknown whether the transaction was committed; look before you repeat it";
    match timeout(COMMIT, commit).await {
        Ok(Err(error)) if lost(&error) => {
            let text = format!("could not commit: the connection broke, and {UNKNOWN}");
            Err(StoreError::new(StoreErrorKind::Unavailable, text).with_source(error))
        }
        Ok(committed) => committed.map_err(otherwise),
        Err(_late) => {
            let text =
                format!("could not commit: the server did not answer within {COMMIT:?}, and {UNKNOWN}");
            Err(StoreError::new(StoreErrorKind::Unavailable, text))
        }
    }
}
