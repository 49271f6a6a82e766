//! Reading fresh messages: from where the last claim stopped, and what turned up in the gaps below.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use outbox_core::Tally;
use sqlx::mysql::{MySql, MySqlArguments, MySqlRow};
use sqlx::query::Query;
use sqlx::{MySqlConnection, Row};

use super::claim::{Room, Work};
use super::decode::{self, MORE};
use super::look::{Look, look_twice};
use super::place;
use super::reading::Next;
use super::statements::GAPS;

/// The most statements that one claim reads fresh messages with.
const MOST_STATEMENTS: usize = 16;
/// The most rows that a look at doubtful gaps brings.
const MOST_DOUBTFUL: i64 = 20_000;
/// A statement that took no longer did not walk over many dead rows.
const QUICK: Duration = Duration::from_millis(10);

/// What a statement read of the fresh messages.
enum Read {
    /// Not everything that it could bring.
    APart,
    /// All of a step of the first reading; there are more.
    AStep,
    All,
}

impl Work<'_> {
    /// Finds out in which gaps nothing can turn up any more.
    pub(super) async fn look_at_doubtful(
        &mut self,
        connection: &mut MySqlConnection,
    ) -> Result<(), sqlx::Error> {
        let ranges = self.cursor.reading.doubtful(self.cursor.now);
        if ranges.is_empty() {
            return Ok(());
        }
        let (committed, all) = look_twice(connection, self.sql, &ranges, MOST_DOUBTFUL).await?;
        let end = |places: &[i64]| match places.last() {
            Some(last) if places.len() as i64 >= MOST_DOUBTFUL => *last,
            _ => i64::MAX,
        };
        let complete = end(&committed).min(end(&all));
        self.cursor.reading.looked(&ranges, &committed, &all, complete, self.cursor.now);
        Ok(())
    }

    /// Looks, and reads the first fresh messages with the same statement; none if something set aside is due, whose turn
    /// it may be.
    pub(super) async fn look_and_read(
        &mut self,
        connection: &mut MySqlConnection,
        room: &mut Room,
    ) -> Result<Look, sqlx::Error> {
        let (next, page) = self.next(room);
        let started = Instant::now();
        let query = sqlx::query(self.sql.claim_next[gaps(&next)].clone()).bind(self.request.epoch.0);
        let mut rows = bind(query, self.cursor.slots, &next, page).fetch(&mut *connection);
        // Both servers answer the parts of the statement one after another.
        let first = rows.try_next().await?.ok_or(sqlx::Error::RowNotFound)?;
        let look = Look::of(&first, MORE + 1)?;
        self.cursor.looked(&look);
        if look.due {
            return Ok(look);
        }
        let read = self.take(&mut rows, page, started, room).await?;
        drop(rows);
        self.went_on(connection, read).await?;
        Ok(look)
    }

    /// Adds fresh messages that were not read yet.
    pub(super) async fn fresh(
        &mut self,
        connection: &mut MySqlConnection,
        room: &mut Room,
    ) -> Result<(), sqlx::Error> {
        // What walks over dead rows only, or over those of others, must answer now and then.
        for _ in 0..MOST_STATEMENTS {
            if self.read_all {
                return Ok(());
            }
            if room.is_full() {
                break;
            }
            let (next, page) = self.next(room);
            let started = Instant::now();
            let query = sqlx::query(self.sql.claim[gaps(&next)].clone());
            let mut rows = bind(query, self.cursor.slots, &next, page).fetch(&mut *connection);
            let read = self.take(&mut rows, page, started, room).await?;
            drop(rows);
            self.went_on(connection, read).await?;
        }
        self.claim.more |= !self.read_all;
        Ok(())
    }

    /// What the next statement reads, and how many rows of it at most.
    fn next(&mut self, room: &Room) -> (Next, usize) {
        let next = self.cursor.reading.next(self.cursor.now);
        let page = room.messages + self.known_within(&next.ranges);
        (next, page)
    }

    /// Adds the messages of the rows that a statement brings, at most `page`, which was sent when it `started`.
    async fn take(
        &mut self,
        rows: &mut BoxStream<'_, Result<MySqlRow, sqlx::Error>>,
        page: usize,
        started: Instant,
        room: &mut Room,
    ) -> Result<Read, sqlx::Error> {
        let (mut read, mut last) = (0, i64::MIN);
        while let Some(row) = rows.try_next().await? {
            read += 1;
            let place = place::fresh(decode::slot(&row)?, decode::seq(&row)?, row.try_get(MORE)?);
            last = place.seq;
            self.cursor.reading.passed(place.seq);
            let mine = decode::bits([place.slot]) & self.cursor.slots != 0;
            if !mine || self.request.held.contains(&place) || !self.answered.insert(place.seq) {
                continue;
            }
            let due_in = decode::not_before(&row).filter(|moment| *moment > self.cursor.now);
            self.add(&row, place, Tally::default(), false, due_in, room);
            if room.is_full() {
                break;
            }
        }
        if read >= page || room.is_full() {
            self.cursor.reading.covered(last);
            return Ok(Read::APart);
        }
        match self.cursor.reading.drained(started.elapsed() < QUICK) {
            true => Ok(Read::AStep),
            false => Ok(Read::All),
        }
    }

    /// Notes what a statement read.
    async fn went_on(&mut self, connection: &mut MySqlConnection, read: Read) -> Result<(), sqlx::Error> {
        self.read_all = matches!(read, Read::All);
        if matches!(read, Read::AStep) {
            self.look_at_doubtful(connection).await?;
        }
        Ok(())
    }

    /// Rows that are read again although the caller holds them, or is about to; they must not fill the page.
    fn known_within(&self, ranges: &[(i64, i64)]) -> usize {
        if ranges.is_empty() {
            return 0;
        }
        let within = |seq: &i64| ranges.iter().any(|(from, to)| (*from..=*to).contains(seq));
        let held = self.request.held.iter().filter(|place| place::is_fresh(place)).map(|place| place.seq);
        held.chain(self.answered.iter().copied()).filter(within).count()
    }
}

/// Which of the statements for different numbers of gaps reads `next`.
fn gaps(next: &Next) -> usize {
    GAPS.iter().position(|gaps| *gaps >= next.ranges.len()).unwrap_or(GAPS.len() - 1)
}

/// Binds what a statement that reads fresh messages asks for.
fn bind(
    query: Query<'static, MySql, MySqlArguments>,
    slots: i64,
    next: &Next,
    limit: usize,
) -> Query<'static, MySql, MySqlArguments> {
    let mut query = query.bind(slots).bind(next.after).bind(next.upto);
    // Ranges that hold nothing make up the number.
    let empty = std::iter::repeat(&(1, 0));
    for (from, to) in next.ranges.iter().chain(empty).take(GAPS[gaps(next)]) {
        query = query.bind(*from).bind(*to);
    }
    query.bind(i64::try_from(limit).unwrap_or(i64::MAX))
}
