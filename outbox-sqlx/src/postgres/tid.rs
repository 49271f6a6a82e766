//! [`Tid`]: where a row lies.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo};
use sqlx::{Encode, Postgres, Type};

/// A `ctid` as one number: the page, and in the last sixteen bits the place on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tid(pub(super) u64);

impl Tid {
    /// From the form in which PostgreSQL sends it: four bytes for the page, two for the place.
    pub(super) fn from_bytes([a, b, c, d, e, f]: [u8; 6]) -> Self {
        Self(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }
}

impl Type<Postgres> for Tid {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(27))
    }
}

impl PgHasArrayType for Tid {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1010))
    }
}

impl Encode<'_, Postgres> for Tid {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let [_, _, place @ ..] = self.0.to_be_bytes();
        buf.extend_from_slice(&place);
        Ok(IsNull::No)
    }
}
