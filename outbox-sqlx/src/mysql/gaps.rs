//! [`Gaps`]: places below the mark at which nothing was seen, and where something may still turn up.
//!
//! Places are given out before transactions commit, so a missing one may belong to a transaction that is still open, to
//! one that was rolled back, or to a statement that took it and is about to write its row. A gap is forgotten only
//! when it is old enough for the last case, and a look at what lies there, committed or not, has found nothing that is
//! not committed. A look that others' locks do not disturb: a locking read would trip over the row behind the gap too.

/// A gap in which something was not committed is looked at again after so many microseconds.
const AGAIN: i64 = 1_000_000;
/// One look covers at most so many places: committed rows that were deleted may still lie there, in any number.
const WIDTH: i64 = 1_000_000;

/// The gaps of one session, from the lowest on.
#[derive(Debug, Clone)]
pub(super) struct Gaps {
    gaps: Vec<Gap>,
    most: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gap {
    from: i64,
    to: i64,
    /// When it may be looked at again.
    again: i64,
    /// All that lay there was committed: once it has been read again, it can be forgotten.
    proven: bool,
}

impl Gaps {
    /// No gaps, and room for `most`: when there are more, those that lie closest become one.
    pub(super) fn new(most: usize) -> Self {
        Self { gaps: Vec::new(), most }
    }

    /// The gaps as ranges, both ends included.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (i64, i64)> {
        self.gaps.iter().map(|gap| (gap.from, gap.to))
    }

    /// Nothing was seen from `from` to `to`, above all other gaps.
    pub(super) fn found(&mut self, from: i64, to: i64) {
        self.gaps.push(Gap { from, to, again: i64::MIN, proven: false });
        self.merge();
    }

    /// A row was read at `seq`, which may lie in a gap.
    pub(super) fn seen(&mut self, seq: i64) {
        let index = self.gaps.partition_point(|gap| gap.to < seq);
        let Some(gap) = self.gaps.get(index).copied().filter(|gap| gap.from <= seq) else { return };
        let parts = [Gap { to: seq - 1, ..gap }, Gap { from: seq + 1, ..gap }];
        self.gaps.splice(index..=index, parts.into_iter().filter(|part| part.from <= part.to));
        self.merge();
    }

    /// Everything committed below `upto` was read in one statement that began after the last look.
    pub(super) fn covered(&mut self, upto: i64) {
        self.gaps.retain(|gap| !(gap.proven && gap.to < upto));
    }

    /// The ranges to look at now, no place above `old`: those up to there were given out long enough ago.
    pub(super) fn due(&mut self, now: i64, old: i64) -> Vec<(i64, i64)> {
        let (mut ranges, mut left) = (Vec::new(), WIDTH);
        let mut index = 0;
        while left > 0
            && let Some(gap) = self.gaps.get(index).copied()
        {
            index += 1;
            if gap.proven || now < gap.again || old < gap.from {
                continue;
            }
            let upto = gap.to.min(old).min(gap.from.saturating_add(left - 1));
            if upto < gap.to {
                if self.gaps.len() > self.most {
                    continue;
                }
                self.split(index - 1, upto);
            }
            left -= upto - gap.from + 1;
            ranges.push((gap.from, upto));
        }
        ranges
    }

    /// What a look at `ranges` found: the places of committed rows, and then of all rows, committed or not; both in
    /// order, and complete up to `complete`.
    pub(super) fn looked(
        &mut self,
        ranges: &[(i64, i64)],
        committed: &[i64],
        all: &[i64],
        complete: i64,
        now: i64,
    ) {
        for (from, to) in ranges {
            let Some(mut index) = self.gaps.iter().position(|gap| (gap.from, gap.to) == (*from, *to)) else {
                continue;
            };
            if *to > complete {
                if complete < *from {
                    continue;
                }
                self.split(index, complete);
            }
            let gap = self.gaps[index];
            let committed = within(committed, &gap);
            let open = within(all, &gap).iter().any(|seq| committed.binary_search(seq).is_err());
            if open {
                // The place after it may belong to the same statement: it stays with the rest.
                while index + 1 < self.gaps.len() && self.gaps[index].to + 1 == self.gaps[index + 1].from {
                    self.join(index);
                }
                self.gaps[index].again = now.saturating_add(AGAIN);
            } else if committed.is_empty() {
                self.gaps.remove(index);
                index = index.saturating_sub(1);
            } else {
                self.gaps[index].proven = true;
            }
            let _ = index;
        }
    }

    fn split(&mut self, index: usize, upto: i64) {
        let gap = self.gaps[index];
        self.gaps.splice(index..=index, [Gap { to: upto, ..gap }, Gap { from: upto + 1, ..gap }]);
    }

    /// Makes one of the gap and the next.
    fn join(&mut self, index: usize) {
        let next = self.gaps.remove(index + 1);
        let gap = &mut self.gaps[index];
        gap.to = next.to;
        gap.again = gap.again.max(next.again);
        gap.proven = false;
    }

    fn merge(&mut self) {
        while self.gaps.len() > self.most {
            let between = |pair: &[Gap]| pair[1].from - pair[0].to;
            let closest = self.gaps.windows(2).enumerate().min_by_key(|(_, pair)| between(pair));
            let Some((index, _)) = closest else { return };
            self.join(index);
        }
    }
}

fn within<'a>(places: &'a [i64], gap: &Gap) -> &'a [i64] {
    let from = places.partition_point(|seq| *seq < gap.from);
    let to = places.partition_point(|seq| *seq <= gap.to);
    &places[from..to]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: i64 = i64::MAX;

    fn gaps(ranges: &[(i64, i64)]) -> Gaps {
        let mut gaps = Gaps::new(8);
        for (from, to) in ranges {
            gaps.found(*from, *to);
        }
        gaps
    }

    fn ranges(gaps: &Gaps) -> Vec<(i64, i64)> {
        gaps.ranges().collect()
    }

    #[test]
    fn a_row_that_turns_up_leaves_what_is_around_it() {
        let mut gaps = gaps(&[(3, 8), (10, 10)]);
        for seq in [5, 10, 3, 9, 8, 1] {
            gaps.seen(seq);
        }
        assert_eq!(ranges(&gaps), [(4, 4), (6, 7)]);
    }

    #[test]
    fn a_gap_is_looked_at_as_far_as_it_is_old() {
        let mut gaps = gaps(&[(3, 8), (20, 29)]);
        assert_eq!(gaps.due(0, 2), []);
        assert_eq!(gaps.due(0, 10), [(3, 8)]);
        assert_eq!(gaps.due(0, 25), [(3, 8), (20, 25)]);
        assert_eq!(ranges(&gaps), [(3, 8), (20, 25), (26, 29)]);
    }

    #[test]
    fn an_empty_gap_is_forgotten_at_once() {
        let mut gaps = gaps(&[(3, 8), (10, 10)]);
        let due = gaps.due(0, ALL);
        gaps.looked(&due, &[], &[], ALL, 0);
        assert_eq!(ranges(&gaps), []);
    }

    #[test]
    fn a_gap_with_something_that_is_not_committed_stays_whole() {
        let mut gaps = gaps(&[(3, 8), (10, 10)]);
        let due = gaps.due(0, ALL);
        gaps.looked(&due, &[], &[5], ALL, 0);
        assert_eq!(ranges(&gaps), [(3, 8)], "its other places may belong to the same statement");
        assert_eq!(gaps.due(AGAIN - 1, ALL), []);
        assert_eq!(gaps.due(AGAIN, ALL), [(3, 8)]);
    }

    #[test]
    fn a_gap_with_committed_rows_is_read_once_more_before_it_is_forgotten() {
        let mut gaps = gaps(&[(3, 8)]);
        let due = gaps.due(0, ALL);
        gaps.looked(&due, &[5], &[5], ALL, 0);
        assert_eq!(ranges(&gaps), [(3, 8)]);
        assert_eq!(gaps.due(0, ALL), [], "it need not be looked at again");
        gaps.covered(8);
        assert_eq!(ranges(&gaps), [(3, 8)], "the statement ended before it");
        gaps.covered(9);
        assert_eq!(ranges(&gaps), []);
    }

    #[test]
    fn a_row_that_is_not_committed_at_first_is_not_taken_for_committed() {
        let mut gaps = gaps(&[(3, 8)]);
        let due = gaps.due(0, ALL);
        gaps.looked(&due, &[5], &[5, 6], ALL, 0);
        gaps.covered(ALL);
        assert_eq!(ranges(&gaps), [(3, 8)]);
    }

    #[test]
    fn a_million_places_that_were_rolled_back_are_one_range_and_are_looked_at_in_parts() {
        let mut gaps = gaps(&[(1, 2_500_000)]);
        let mut looks = 0;
        while !ranges(&gaps).is_empty() {
            let due = gaps.due(0, ALL);
            assert!(due.iter().all(|(from, to)| to - from < WIDTH));
            gaps.looked(&due, &[], &[], ALL, 0);
            looks += 1;
        }
        assert_eq!(looks, 3);
    }

    #[test]
    fn a_look_that_did_not_get_far_counts_as_far_as_it_got() {
        let mut gaps = gaps(&[(1, 100), (200, 300)]);
        let due = gaps.due(0, ALL);
        gaps.looked(&due, &[10, 20], &[10, 20], 20, 0);
        assert_eq!(ranges(&gaps), [(1, 20), (21, 100), (200, 300)]);
        gaps.covered(ALL);
        assert_eq!(ranges(&gaps), [(21, 100), (200, 300)]);
    }

    #[test]
    fn more_gaps_than_there_is_room_for_become_fewer_and_wider() {
        let mut gaps = Gaps::new(4);
        for seq in [10, 20, 30, 31, 40, 42, 60] {
            if !matches!(seq, 31) {
                gaps.found(seq, seq);
            }
        }
        assert_eq!(ranges(&gaps).len(), 4);
        let holds = |seq| gaps.ranges().any(|(from, to)| from <= seq && seq <= to);
        assert!([10, 20, 30, 40, 42, 60].into_iter().all(holds), "none is lost");
    }
}
