//! [`Snapshot`]: which transactions had ended at a moment.

use std::fmt;

/// A `pg_snapshot`: transactions below `xmax` that are not `running` had ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    xmin: u64,
    pub(super) xmax: u64,
    /// In rising order, all below `xmax`. Transactions from `xmax` on may be running too.
    pub(super) running: Vec<u64>,
}

impl Snapshot {
    /// Reads PostgreSQL's text form, `xmin:xmax:running,running,…`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let xmin = parts.next()?.parse().ok()?;
        let xmax = parts.next()?.parse().ok()?;
        let list = parts.next()?.split(',').filter(|xid| !xid.is_empty());
        let running = list.map(str::parse).collect::<Result<_, _>>().ok()?;
        parts.next().is_none().then_some(Self { xmin, xmax, running })
    }

    /// Whether transaction `xid` had ended.
    pub(super) fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.running.binary_search(&xid).is_err())
    }

    /// The transactions that were running here and had ended at `later`.
    pub(super) fn ended_by(&self, later: &Self) -> Vec<u64> {
        self.running.iter().copied().filter(|xid| later.sees(*xid)).collect()
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (n, xid) in self.running.iter().enumerate() {
            write!(f, "{}{xid}", if n == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_written_as_it_was_read() {
        for text in ["10:10:", "10:20:10", "10:20:10,14,19"] {
            assert_eq!(Snapshot::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "10", "10:20", "10:20:x", "a:b:", "1:2:3:4"] {
            assert_eq!(Snapshot::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_snapshot_sees_what_had_ended() {
        let snapshot = Snapshot::parse("10:20:10,14").unwrap();
        let seen: Vec<u64> = (8..22).filter(|xid| snapshot.sees(*xid)).collect();
        assert_eq!(seen, [8, 9, 11, 12, 13, 15, 16, 17, 18, 19]);
        let later = Snapshot::parse("14:30:14").unwrap();
        assert_eq!(snapshot.ended_by(&later), [10]);
    }
}
