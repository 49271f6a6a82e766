//! What this library is to reach, with the settings that it ships with, against the best of the others.

use outbox::Settings;

use super::board::{Board, Column};
use super::program::Variant;
use crate::figures::Spread;
use crate::output::{Aim, Goal};

use Column::*;
use Goal::{AtLeast, AtMost, None as Stated};

/// Which of two figures is the better one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Better {
    More,
    Less,
}

/// A race that is over.
struct Race<'a> {
    board: &'a Board,
    others: Vec<&'a Variant<'a>>,
    ours: &'a Variant<'a>,
    tuned: Option<&'a Variant<'a>>,
    aims: Vec<Aim>,
}

/// Every aim that this race has figures for.
pub(super) fn aims(board: &Board, variants: &[Variant<'_>]) -> Vec<Aim> {
    let of_ours = |is_tuned| variants.iter().find(|variant| variant.is_ours && variant.is_tuned == is_tuned);
    let Some(ours) = of_ours(false) else { return Vec::new() };
    let others: Vec<_> = variants.iter().filter(|variant| !variant.is_ours).collect();
    let mut race = Race { board, others: others.clone(), ours, tuned: of_ours(true), aims: Vec::new() };
    race.against("drain without keys", Drain, Drain, Better::More, AtLeast(3.0));
    race.against("drain with order per key ÷ drain without", Ordered, Drain, Better::More, AtLeast(3.0));
    race.against("drain with order per key", Ordered, Ordered, Better::More, AtLeast(4.0));
    race.against("enqueue, 100 a transaction", Enqueue, Enqueue, Better::More, AtLeast(1.5));
    race.against("write-ahead log of a drain", DrainLog, DrainLog, Better::Less, AtMost(1.0));
    race.others.retain(|variant| !variant.program.about.reads_a_log);
    let those_that_settle = "write-ahead log of a drain, against those that delete or mark what is delivered";
    race.against(those_that_settle, DrainLog, DrainLog, Better::Less, AtMost(1.0));
    race.others = others;
    race.own("a million delivered rows kept ÷ none", Kept, AtLeast(0.9));
    race.own("commit → handler, p50, ms", Median, AtMost(1.0));
    race.own("commit → handler, p99, ms", Late, AtMost(2.0));
    race.against("commit → handler, p50", Median, Median, Better::Less, AtMost(1.0));
    race.against("commit → handler, p99", Late, Late, Better::Less, AtMost(1.0));
    race.transactions_of_the_soonest();
    race.against("drain while 1 % fail, the others", Failing, Failing, Better::More, Stated);
    let shipped = Settings::default();
    race.own("SIGKILL: missing", KilledLost, AtMost(0.0));
    // One batch is out while the next one begins.
    race.own("SIGKILL: delivered twice, messages", KilledTwice, AtMost(2.0 * shipped.batch as f64));
    race.own("SIGKILL: drained by a successor after, s", Killed, AtMost(shipped.lease.as_secs_f64() + 1.0));
    for (what, column) in [("drain", Drain), ("drain with order per key", Ordered), ("enqueue", Enqueue)] {
        race.shipped_over_tuned(what, column);
    }
    race.aims
}

impl Race<'_> {
    /// The best of the others; one that did not get to the end, or not in order, is no yardstick.
    fn best(&self, column: Column, better: Better) -> Option<&Variant<'_>> {
        let qualified = self.others.iter().filter(|variant| !self.board.is_disqualified(column, variant));
        qualified
            .filter_map(|variant| Some((variant, self.board.median(column, variant)?)))
            .max_by(|(_, a), (_, b)| if better == Better::More { a.total_cmp(b) } else { b.total_cmp(a) })
            .map(|(variant, _)| *variant)
    }

    /// Ours in `column` ÷ the best other in `theirs`, round by round.
    fn against(&mut self, what: &str, column: Column, theirs: Column, better: Better, goal: Goal) {
        let Some(best) = self.best(theirs, better) else { return };
        let (name, ratio) = (best.name.clone(), self.ratio((column, self.ours), (theirs, best)));
        self.aim(format!("{what}: {} ÷ {name}", self.ours.name), goal, ratio);
    }

    /// A figure of our own.
    fn own(&mut self, what: &str, column: Column, goal: Goal) {
        let spread = Spread::of(self.board.rounds(column, self.ours));
        self.aim(format!("{what}: {}", self.ours.name), goal, spread);
    }

    /// Being soon must not be bought with more transactions than the soonest of the others takes.
    fn transactions_of_the_soonest(&mut self) {
        let Some(soonest) = self.best(Median, Better::Less) else { return };
        let name = soonest.name.clone();
        let ratio = self.ratio((FlowTransactions, self.ours), (FlowTransactions, soonest));
        self.aim(
            format!("transactions a message: {} ÷ {name}, the soonest", self.ours.name),
            AtMost(1.0),
            ratio,
        );
    }

    /// What ships must not be far from the best settings.
    fn shipped_over_tuned(&mut self, what: &str, column: Column) {
        let Some(tuned) = self.tuned else { return };
        let ratio = self.ratio((column, self.ours), (column, tuned));
        self.aim(format!("{what}: {} ÷ tuned", self.ours.name), AtLeast(0.7), ratio);
    }

    fn ratio(&self, ours: (Column, &Variant<'_>), theirs: (Column, &Variant<'_>)) -> Option<Spread> {
        let (ours, theirs) = (self.board.rounds(ours.0, ours.1), self.board.rounds(theirs.0, theirs.1));
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        Spread::of(&ratios)
    }

    fn aim(&mut self, what: String, goal: Goal, measured: Option<Spread>) {
        self.aims.extend(measured.map(|measured| Aim { what, goal, measured }));
    }
}
