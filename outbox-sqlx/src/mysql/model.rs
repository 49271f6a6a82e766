//! A reading against a server played in memory: what random transactions do to it, however its statements fall between.

use std::collections::{BTreeMap, HashSet};

use super::reading::{MOST_RANGES, Next, Reading};

const SECOND: i64 = 1_000_000;
/// How many rows a look brings at most.
const MOST_DOUBTFUL: usize = 5;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as i64
    }
}

/// An open transaction.
#[derive(Default)]
struct Open {
    written: Vec<i64>,
    /// Places of its statement that have no row yet, the next one last.
    to_write: Vec<i64>,
    /// When the statement took its places, unless the first of them has its row.
    took: Option<i64>,
}

struct Row {
    committed: bool,
    mine: bool,
}

struct Server {
    dice: Dice,
    now: i64,
    last: i64,
    open: Vec<Open>,
    rows: BTreeMap<i64, Row>,
}

impl Server {
    /// Nothing, or something, happens.
    fn goes_on(&mut self) {
        let one = self.dice.roll(1 + self.open.len() as i64) as usize;
        match self.dice.roll(14) {
            0 | 1 => {}
            2 if self.open.len() < 8 => self.open.push(Open::default()),
            3..=5 if one < self.open.len() => self.insert(one),
            6..=8 if one < self.open.len() => self.write(one),
            9..=10 if one < self.open.len() => self.end(one),
            11 => self.pass(self.dice.0 as i64 & 0x1f_ffff),
            _ => self.pass(self.dice.0 as i64 & 0x3ff),
        }
    }

    /// Time passes; who has taken places for a while writes the first row.
    fn pass(&mut self, micros: i64) {
        self.now += micros;
        for one in 0..self.open.len() {
            if self.open[one].took.is_some_and(|took| took + SECOND < self.now) {
                self.write(one);
            }
        }
    }

    /// A statement takes places, of which it may leave out the last.
    fn insert(&mut self, one: usize) {
        if !self.open[one].to_write.is_empty() {
            return;
        }
        let places = match self.dice.roll(16) {
            0 => 90_000 + self.dice.roll(40_000),
            1 => 1 + self.dice.roll(1_500_000),
            _ => 1 + self.dice.roll(6),
        };
        let rows = places.min(1 + self.dice.roll(8));
        self.open[one].to_write = (self.last + 1..=self.last + rows).rev().collect();
        self.open[one].took = Some(self.now);
        self.last += places;
        if self.dice.roll(4) > 0 {
            self.write(one);
        }
    }

    fn write(&mut self, one: usize) {
        let Some(seq) = self.open[one].to_write.pop() else { return };
        self.rows.insert(seq, Row { committed: false, mine: self.dice.roll(3) > 0 });
        self.open[one].written.push(seq);
        self.open[one].took = None;
    }

    fn end(&mut self, one: usize) {
        let rolls_back = self.dice.roll(3) == 0;
        if !rolls_back && !self.open[one].to_write.is_empty() {
            return;
        }
        for seq in self.open.swap_remove(one).written {
            if rolls_back {
                self.rows.remove(&seq);
            } else if let Some(row) = self.rows.get_mut(&seq) {
                row.committed = true;
            }
        }
    }

    /// The lowest places in `ranges`, of committed rows or of all.
    fn places(&self, ranges: &[(i64, i64)], all: bool) -> Vec<i64> {
        let within = |seq: &i64| ranges.iter().any(|(from, to)| from <= seq && seq <= to);
        let rows = self.rows.iter().filter(|(seq, row)| (all || row.committed) && within(seq));
        rows.map(|(seq, _)| *seq).take(MOST_DOUBTFUL).collect()
    }

    /// The rows of a statement that reads `next`: the place of each, and whether it is of the session's slots.
    fn read(&self, next: &Next, page: usize) -> Vec<(i64, bool)> {
        let within = |seq: i64| next.ranges.iter().any(|(from, to)| *from <= seq && seq <= *to);
        let reads = |seq: i64, row: &Row| (next.after < seq && seq <= next.upto) || (row.mine && within(seq));
        let rows = self.rows.iter().filter(|(seq, row)| row.committed && reads(**seq, row));
        rows.map(|(seq, row)| (*seq, row.mine)).take(page).collect()
    }
}

/// A session that claims, as `fresh.rs` does.
struct Session {
    reading: Reading,
    now: i64,
    answered: HashSet<i64>,
}

impl Session {
    fn claim(&mut self, server: &mut Server, limit: usize) {
        self.look_at_doubtful(server);
        server.goes_on();
        self.now = server.now;
        self.reading.time_is(self.now);
        let mut room = limit;
        for _ in 0..16 {
            server.goes_on();
            let next = self.reading.next(self.now);
            assert!(next.ranges.len() <= MOST_RANGES, "more ranges than a statement reads: {next:?}");
            let within = |seq: &&i64| next.ranges.iter().any(|(from, to)| (*from..=*to).contains(*seq));
            let page = room + self.answered.iter().filter(within).count();
            let rows = server.read(&next, page);
            let (mut read, mut last) = (0, i64::MIN);
            for (seq, mine) in rows {
                read += 1;
                last = seq;
                self.reading.passed(seq);
                if mine && self.answered.insert(seq) {
                    self.nothing_is_below(server, seq);
                    room -= 1;
                    if room == 0 {
                        break;
                    }
                }
            }
            if read >= page || room == 0 {
                self.reading.covered(last);
            } else if self.reading.drained(true) {
                self.look_at_doubtful(server);
            } else {
                return;
            }
            if room == 0 {
                return;
            }
        }
    }

    fn look_at_doubtful(&mut self, server: &mut Server) {
        let ranges = self.reading.doubtful(self.now);
        if ranges.is_empty() {
            return;
        }
        let committed = server.places(&ranges, false);
        server.goes_on();
        let all = server.places(&ranges, true);
        let end = |places: &[i64]| match places.last() {
            Some(last) if places.len() >= MOST_DOUBTFUL => *last,
            _ => i64::MAX,
        };
        let complete = end(&committed).min(end(&all));
        self.reading.looked(&ranges, &committed, &all, complete, self.now);
    }

    /// Nothing of the server was passed that the statement saw.
    fn nothing_is_below(&self, server: &Server, seq: i64) {
        let passed =
            |(below, row): &(&i64, &Row)| row.committed && row.mine && !self.answered.contains(*below);
        let passed: Vec<i64> = server.rows.range(..seq).filter(passed).map(|(below, _)| *below).collect();
        assert!(passed.is_empty(), "{seq} was read, and {passed:?} were not");
    }
}

fn play(seed: u64) {
    let dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut server = Server { dice, now: SECOND, last: 0, open: Vec::new(), rows: BTreeMap::new() };
    for _ in 0..server.dice.roll(200) {
        server.goes_on();
    }
    let reading = Reading::first(server.last);
    let mut session = Session { reading, now: server.now, answered: HashSet::new() };
    for _ in 0..400 {
        for _ in 0..server.dice.roll(12) {
            server.goes_on();
        }
        let limit = 1 + server.dice.roll(9) as usize;
        if server.dice.roll(40) == 0 {
            session.reading = Reading::first(server.last);
        }
        session.claim(&mut server, limit);
        if server.dice.roll(4) == 0 {
            // What was answered is settled, some of it.
            let modulus = 1 + server.dice.roll(4);
            server.rows.retain(|seq, _| !session.answered.contains(seq) || seq % modulus != 0);
        }
    }
}

#[test]
fn whatever_transactions_do_nothing_that_a_statement_sees_is_passed() {
    for seed in 1..=60 {
        play(seed);
    }
}
