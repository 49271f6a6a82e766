//! How far a session has read: nothing that commits late is missed, and no message of a key overtakes an earlier one.
//!
//! Places are read in their order. What was passed without being seen is a gap, and every statement that reads on reads
//! the gaps as well, in one consistent view: so what is above a gap is never seen without what was committed before it
//! in the gap. Foreign transactions cost nothing, however long they stay open: a reader keeps dead rows, but they lie
//! below the mark and outside the gaps; a writer of the outbox is a gap.
//!
//! The first reading goes in steps: where a transaction that somebody keeps open holds on to millions of dead rows,
//! each statement walks over no more than a step of them.
//!
//! Now and then a range that was passed long since is read again, the *sweep*. It finds what no rule foresees, such as
//! a row that took its place and was written much later, or one that a person restored: late, but not never.

use std::collections::VecDeque;

use super::gaps::Gaps;

/// How many ranges one statement reads below the mark, at most: the gaps and the sweep.
pub(super) const MOST_RANGES: usize = 32;
/// What is left to the sweep, and to a gap that is looked at in parts.
const MOST_GAPS: usize = MOST_RANGES - 3;
/// How many places the first reading walks over in one statement.
const STEP: i64 = 1_000_000;
/// Microseconds from one step of the sweep to the next.
const SWEEP_EVERY: i64 = 5_000_000;
/// What lies in a gap is looked at when its places were given out so many microseconds ago: a statement takes a place and
/// writes its row at once.
const GRACE: i64 = 5_000_000;
/// Or when they lie so many places below others that were given out so many microseconds ago: by then a gap is wide. The
/// first reading does not wait, since it may have to pass millions.
const DEPTH: i64 = 100_000;
const GRACE_OF_DEEP: i64 = 1_000_000;
/// Places in one step of the sweep. It grows while the steps are quick: empty places cost nothing.
const SWEEP_WIDTH: (i64, i64) = (50_000, 50_000_000);

/// How far a session has read.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    /// Everything up to here has been seen, or is a gap.
    mark: i64,
    /// While this is the first reading: the latest place that was given out when it began.
    first: Option<i64>,
    past: Past,
    gaps: Gaps,
    sweep: Sweep,
}

/// Where the mark was at which time, about once a second: what is below it was given out by then. Not when a gap was
/// found: a gap becomes one with others, and the session may have slept since it asked for the time.
#[derive(Debug, Clone, Default)]
struct Past(VecDeque<(i64, i64)>);

#[derive(Debug, Clone, Copy)]
struct Sweep {
    /// It goes from here on up to `upto`, where the mark was when it began.
    after: i64,
    upto: i64,
    width: i64,
    /// When the next step is due.
    at: i64,
    /// The step that is being read.
    step: Option<(i64, i64)>,
}

/// What the next statement reads: the places after `after` up to `upto`, and those in the `ranges` below.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) after: i64,
    pub(super) upto: i64,
    pub(super) ranges: Vec<(i64, i64)>,
}

impl Reading {
    /// From the beginning; `last` is a place that no place given out so far is above.
    pub(super) fn first(last: i64) -> Self {
        let sweep = Sweep { after: 0, upto: 0, width: SWEEP_WIDTH.0, at: 0, step: None };
        Self { mark: 0, first: Some(last), past: Past::default(), gaps: Gaps::new(MOST_GAPS), sweep }
    }

    /// It is `now` by the server's clock, after all that was read so far.
    pub(super) fn time_is(&mut self, now: i64) {
        self.past.note(now, self.mark);
    }

    /// What to read next.
    pub(super) fn next(&mut self, now: i64) -> Next {
        self.sweep.begin(now, self.mark, self.first.is_some());
        let ranges = self.gaps.ranges().chain(self.sweep.step).collect();
        Next { after: self.mark, upto: self.upto(), ranges }
    }

    /// A row was read; they come in their order.
    pub(super) fn passed(&mut self, seq: i64) {
        if seq <= self.mark {
            self.gaps.seen(seq);
        } else {
            self.skip_to(seq);
            self.mark = seq;
        }
    }

    /// The statement brought rows up to the last that was passed at least, `seq`; there may be more.
    pub(super) fn covered(&mut self, seq: i64) {
        self.gaps.covered(seq);
        if self.sweep.step.is_some_and(|(_, to)| to < seq) {
            self.sweep.end(true);
        }
    }

    /// The statement brought all it could; `quick` if it did not take long. Answers whether there may be more above.
    pub(super) fn drained(&mut self, quick: bool) -> bool {
        self.gaps.covered(i64::MAX);
        self.sweep.end(quick);
        if self.first.is_none() {
            return false;
        }
        match self.upto() {
            i64::MAX => {
                self.first = None;
                false
            }
            upto => {
                self.skip_to(upto + 1);
                self.mark = upto;
                true
            }
        }
    }

    /// The gaps to look at, in which there may be something uncommitted.
    pub(super) fn doubtful(&mut self, now: i64) -> Vec<(i64, i64)> {
        let top = match self.first {
            Some(last) => last.max(self.mark),
            None => self.past.mark(now - GRACE_OF_DEEP),
        };
        let old = self.past.mark(now - GRACE).max(top.saturating_sub(DEPTH));
        self.gaps.due(now, old)
    }

    /// What the look at them found, as [`Gaps::looked`] says.
    pub(super) fn looked(
        &mut self,
        ranges: &[(i64, i64)],
        committed: &[i64],
        all: &[i64],
        complete: i64,
        now: i64,
    ) {
        self.gaps.looked(ranges, committed, all, complete, now);
    }

    fn skip_to(&mut self, seq: i64) {
        if self.mark + 1 < seq {
            self.gaps.found(self.mark + 1, seq - 1);
        }
    }

    /// Where the next statement ends: without an end from the last place known on.
    fn upto(&self) -> i64 {
        match self.first {
            Some(last) if self.mark.saturating_add(STEP) < last => self.mark + STEP,
            _ => i64::MAX,
        }
    }
}

impl Past {
    /// From one note to the next.
    const EVERY: i64 = 500_000;

    fn note(&mut self, now: i64, mark: i64) {
        if self.0.back().is_some_and(|(at, _)| now < *at) {
            // The clock was set back.
            self.0.clear();
        }
        if self.0.back().is_none_or(|(at, _)| at + Self::EVERY <= now) {
            self.0.push_back((now, mark));
        }
        while self.0.get(1).is_some_and(|(at, _)| at + GRACE <= now) {
            self.0.pop_front();
        }
    }

    /// The latest mark that was noted until `time`; 0 for none.
    fn mark(&self, time: i64) -> i64 {
        self.0.iter().rev().find(|(at, _)| *at <= time).map_or(0, |(_, mark)| *mark)
    }
}

impl Sweep {
    fn begin(&mut self, now: i64, mark: i64, first: bool) {
        if self.step.is_some() || now < self.at || first {
            return;
        }
        self.at = now + SWEEP_EVERY;
        if self.after < self.upto {
            self.step = Some((self.after + 1, self.upto.min(self.after.saturating_add(self.width))));
        } else {
            // Only what was below the mark a while ago: it has been settled, most of it.
            (self.after, self.upto) = (0, mark);
        }
    }

    fn end(&mut self, quick: bool) {
        let Some((_, to)) = self.step.take() else { return };
        self.after = to;
        let width = if quick { self.width.saturating_mul(2) } else { self.width / 2 };
        self.width = width.clamp(SWEEP_WIDTH.0, SWEEP_WIDTH.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reading that has come to the end of an empty outbox.
    fn reading() -> Reading {
        let mut reading = Reading::first(0);
        assert_eq!(reading.next(0), Next { after: 0, upto: i64::MAX, ranges: vec![] });
        assert!(!reading.drained(true));
        reading
    }

    fn pass(reading: &mut Reading, places: &[i64]) {
        for seq in places {
            reading.passed(*seq);
        }
    }

    #[test]
    fn what_was_passed_unseen_is_read_again_with_all_that_follows() {
        let mut reading = reading();
        pass(&mut reading, &[1, 2, 5, 7]);
        assert_eq!(reading.next(0), Next { after: 7, upto: i64::MAX, ranges: vec![(3, 4), (6, 6)] });
        pass(&mut reading, &[4, 9]);
        assert_eq!(reading.next(0), Next { after: 9, upto: i64::MAX, ranges: vec![(3, 3), (6, 6), (8, 8)] });
    }

    #[test]
    fn the_first_reading_covers_every_place_step_by_step() {
        let mut reading = Reading::first(2_500_000);
        let mut steps = Vec::new();
        loop {
            let doubtful = reading.doubtful(0);
            reading.looked(&doubtful, &[], &[], i64::MAX, 0);
            let next = reading.next(0);
            assert!(next.ranges.iter().all(|(from, to)| to - from <= STEP), "{next:?}");
            steps.push((next.after, next.upto));
            if !reading.drained(true) {
                break;
            }
        }
        assert_eq!(steps, [(0, STEP), (STEP, 2 * STEP), (2 * STEP, i64::MAX)]);
    }

    #[test]
    fn the_sweep_reads_what_was_passed_long_since() {
        let mut reading = reading();
        pass(&mut reading, &[1, 2, 3]);
        assert_eq!(reading.next(0).ranges, [], "it begins");
        pass(&mut reading, &[4]);
        assert_eq!(reading.next(SWEEP_EVERY - 1).ranges, []);
        assert_eq!(reading.next(SWEEP_EVERY).ranges, [(1, 3)]);
        reading.covered(3);
        assert_eq!(reading.next(SWEEP_EVERY).ranges, [(1, 3)], "the statement ended within it");
        reading.covered(4);
        assert_eq!(reading.next(SWEEP_EVERY).ranges, []);
    }

    #[test]
    fn a_gap_is_looked_at_when_it_is_old_or_deep() {
        let mut reading = reading();
        pass(&mut reading, &[1, 3]);
        // Long after the time was asked for.
        reading.time_is(10);
        pass(&mut reading, &[5, 200_000]);
        assert_eq!(reading.doubtful(10), []);
        reading.time_is(GRACE_OF_DEEP);
        assert_eq!(reading.doubtful(2 * GRACE_OF_DEEP - 1), []);
        assert_eq!(reading.doubtful(2 * GRACE_OF_DEEP), [(2, 2), (4, 4), (6, 100_000)], "deep");
        reading.time_is(GRACE + GRACE_OF_DEEP);
        let all = [(2, 2), (4, 4), (6, 100_000), (100_001, 199_999)];
        assert_eq!(reading.doubtful(GRACE + GRACE_OF_DEEP), all, "old");
    }

    #[test]
    fn a_clock_that_was_set_back_begins_anew() {
        let mut reading = reading();
        pass(&mut reading, &[1, 3]);
        reading.time_is(10 * GRACE);
        reading.time_is(GRACE);
        assert_eq!(reading.doubtful(2 * GRACE - 1), []);
        assert_eq!(reading.doubtful(2 * GRACE), [(2, 2)]);
    }
}
