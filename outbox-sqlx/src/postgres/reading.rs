//! How far a session has read: nothing that commits late is missed, and nothing is read twice.
//!
//! A row that is not visible in a snapshot was written by a transaction that was running then, or that started later.
//! So after a snapshot the rows to read are those of its running transactions and those from its `xmax` on, and
//! nothing below is ever looked at again: an old transaction that somebody keeps open, anywhere in the cluster, costs
//! nothing. Within one *window*, from one snapshot to the next, rows are read in the order of their transactions;
//! what commits meanwhile is left for the next window, since it may follow something that was passed already.
//!
//! The first reading goes by place instead, so that rows with transaction numbers of another server are read too. It
//! goes in steps: where a snapshot that somebody keeps holds on to millions of dead rows, each statement walks over no
//! more than a step of them, and the next claim goes on behind it.

use super::snapshot::Snapshot;

/// How many places the first reading walks over in one statement.
const STEP: i64 = 1_000_000;

/// How far a session has read.
#[derive(Debug, Clone)]
pub(super) enum Reading {
    /// From the beginning by place: after `mark`, what `snapshot` sees; `last` was the latest place then.
    First { snapshot: Snapshot, mark: i64, last: i64 },
    /// Everything that this snapshot sees.
    Read(Snapshot),
    /// In the middle of a window.
    Window(Window),
}

/// The rows that `to` sees and `from` did not, in the order of transaction and place.
#[derive(Debug, Clone)]
pub(super) struct Window {
    from: Snapshot,
    to: Snapshot,
    part: Part,
    /// Rows up to this one have been read.
    xid: u64,
    seq: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Transactions that ran at `from`.
    Late,
    /// Transactions that started since.
    On,
}

/// The statement that reads on.
#[derive(Debug)]
pub(super) enum Next {
    First {
        mark: i64,
        upto: i64,
        snapshot: String,
    },
    Late {
        xids: Vec<String>,
        xid: String,
        seq: i64,
    },
    On {
        xid: String,
        seq: i64,
        xmax: String,
        snapshot: String,
    },
    /// There is nothing that `now` sees and was not read.
    Nothing,
}

impl Reading {
    /// When everything below this transaction was read, whatever commits now: the transaction.
    pub(super) fn missed_nothing_before(&self) -> Option<String> {
        match self {
            Self::Read(from) if from.running.is_empty() => Some(from.xmax.to_string()),
            _ => None,
        }
    }

    /// What to read next; `now` is a snapshot that was just taken.
    pub(super) fn next(&mut self, now: &Snapshot) -> Next {
        if let Self::Read(from) = self {
            if from == now {
                return Next::Nothing;
            }
            let (from, to) = (from.clone(), now.clone());
            *self = Self::Window(Window { from, to, part: Part::Late, xid: 0, seq: i64::MIN });
        }
        if let Self::Window(window) = self
            && window.part == Part::Late
            && window.late().is_empty()
        {
            window.go_on();
        }
        match self {
            Self::First { snapshot, mark, last } => {
                Next::First { mark: *mark, upto: step(*mark, *last), snapshot: snapshot.to_string() }
            }
            Self::Read(_) => Next::Nothing,
            Self::Window(window) => {
                let (xid, seq) = (window.xid.to_string(), window.seq);
                match window.part {
                    Part::Late => Next::Late { xids: window.late(), xid, seq },
                    Part::On => Next::On {
                        xid,
                        seq,
                        xmax: window.to.xmax.to_string(),
                        snapshot: window.to.to_string(),
                    },
                }
            }
        }
    }

    /// A row was read.
    pub(super) fn passed(&mut self, read_xid: u64, read_seq: i64) {
        match self {
            Self::First { mark, .. } => *mark = read_seq,
            Self::Window(window) => (window.xid, window.seq) = (read_xid, read_seq),
            Self::Read(_) => {}
        }
    }

    /// The statement brought all it could.
    pub(super) fn drained(&mut self) {
        match self {
            Self::First { snapshot, mark, last } => match step(*mark, *last) {
                i64::MAX => *self = Self::Read(snapshot.clone()),
                upto => *mark = upto,
            },
            Self::Window(window) if window.part == Part::Late => window.go_on(),
            Self::Window(window) => *self = Self::Read(window.to.clone()),
            Self::Read(_) => {}
        }
    }
}

/// The end of the step after `mark`; without one, since rows of another server may lie above, from `last` on.
fn step(mark: i64, last: i64) -> i64 {
    let upto = mark.max(0).saturating_add(STEP);
    if upto < last { upto } else { i64::MAX }
}

impl Window {
    fn late(&self) -> Vec<String> {
        let ended = self.from.ended_by(&self.to).into_iter();
        ended.filter(|xid| *xid >= self.xid).map(|xid| xid.to_string()).collect()
    }

    fn go_on(&mut self) {
        (self.part, self.xid, self.seq) = (Part::On, self.from.xmax, i64::MIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        Snapshot::parse(text).unwrap()
    }

    #[test]
    fn the_first_reading_covers_every_place_step_by_step() {
        let now = snapshot("10:10:");
        let mut reading = Reading::First { snapshot: now.clone(), mark: i64::MIN, last: 2_500_000 };
        let mut steps = Vec::new();
        while let Next::First { mark, upto, .. } = reading.next(&now) {
            steps.push((mark, upto));
            reading.drained();
        }
        let expected = [(i64::MIN, STEP), (STEP, 2 * STEP), (2 * STEP, i64::MAX)];
        assert_eq!(steps, expected);
    }

    #[test]
    fn a_window_reads_the_late_ones_first_and_then_those_that_started_since() {
        let (from, to) = (snapshot("10:20:10,12,14"), snapshot("12:30:12"));
        let mut reading = Reading::Read(from);
        let Next::Late { xids, .. } = reading.next(&to) else { panic!("{reading:?}") };
        assert_eq!(xids, ["10", "14"], "12 is still running");
        reading.passed(14, 3);
        let Next::Late { xids, xid, seq } = reading.next(&to) else { panic!("{reading:?}") };
        assert_eq!(
            (xids, xid.as_str(), seq),
            (vec!["14".to_owned()], "14", 3),
            "reads on within a transaction"
        );
        reading.drained();
        let Next::On { xid, xmax, snapshot: seen, .. } = reading.next(&to) else { panic!("{reading:?}") };
        assert_eq!((xid.as_str(), xmax.as_str(), seen.as_str()), ("20", "30", "12:30:12"));
        reading.drained();
        assert!(matches!(reading.next(&to), Next::Nothing), "nothing happened since");
        let Next::Late { xids, .. } = reading.next(&snapshot("30:30:")) else { panic!("{reading:?}") };
        assert_eq!(xids, ["12"], "the one that ran on");
    }
}
