//! Times as the outbox counts them, microseconds since 1970, and as PostgreSQL sends them.

use std::time::{Duration, SystemTime};

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};

/// A `timestamptz`, in microseconds since 1970; `infinity` is the last moment there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Micros(pub(super) i64);

/// From 1970 to 2000, where PostgreSQL begins to count.
const TO_2000: i64 = 946_684_800_000_000;

impl Type<Postgres> for Micros {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl PgHasArrayType for Micros {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1185))
    }
}

impl Encode<'_, Postgres> for Micros {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode(self.0.saturating_sub(TO_2000), buf)
    }
}

impl Decode<'_, Postgres> for Micros {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        // Prepared statements are answered in binary form.
        let micros = <[u8; 8]>::try_from(value.as_bytes()?)?;
        Ok(Self(i64::from_be_bytes(micros).saturating_add(TO_2000)))
    }
}

impl From<SystemTime> for Micros {
    fn from(time: SystemTime) -> Self {
        Self(match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => duration(after),
            Err(before) => -duration(before.duration()),
        })
    }
}

/// A duration in microseconds; more than 300 years count as 300 years, so that sums with the clock stay in range.
pub(super) fn duration(duration: Duration) -> i64 {
    const MAX: i64 = 300 * 365 * 24 * 3_600 * 1_000_000;
    i64::try_from(duration.as_micros()).unwrap_or(MAX).min(MAX)
}

/// The moment that is `micros` after (or before) 1970.
pub(super) fn moment(micros: i64) -> Option<SystemTime> {
    let distance = Duration::from_micros(micros.unsigned_abs());
    if micros >= 0 {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    }
}

/// `micros` as a duration; zero when negative.
pub(super) fn positive(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
