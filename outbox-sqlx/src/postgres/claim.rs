//! What may go out now: fresh messages from where the last claim stopped, and due ones set aside.

use std::collections::HashMap;

use futures_util::TryStreamExt;
use outbox_core::{Claim, ClaimRequest, Claimed, Place, Slot, Tally};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row, ValueRef};

use super::decode::{self, MORE};
use super::look::{Blocked, Look};
use super::micros::{self, Micros};
use super::reading::{Next, Reading};
use super::snapshot::Snapshot;
use super::statements::Statements;
use super::tid::Tid;

/// [`Place::hint`] of a message that was set aside; that of a fresh one tells where its row lies.
pub(super) const SET_ASIDE: u64 = u64::MAX;

/// How many messages come with the look of a claim that reads on. Few: their payloads come whatever there is room for.
const FIRST_ROWS: u8 = 20;

/// The most statements that one claim reads fresh messages with.
const MOST_STATEMENTS: usize = 16;

/// How far a session has read; lives in memory.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    reading: Reading,
    /// The slots that were read this far.
    slots: Vec<i16>,
    /// The connection that read. A new one may lead to another server, after a failover. Behind a pooler, the server.
    connection: u64,
    /// The connection that read everything which the caller holds: while it lives, the server lost nothing of it.
    pub(super) since: u64,
    /// The connection that settles, opened while `since` lived.
    pub(super) writer: u64,
    /// The count of a person's acts that everything the caller holds is known to follow.
    pub(super) changes: Option<i64>,
    /// Something set aside was due, or was going to be, at the last claim.
    due: bool,
    /// Whose turn it is to read first when both fresh and due messages wait: neither may starve.
    due_first: bool,
}

impl Cursor {
    /// When the session gets one of `slots` again, it is read from the beginning.
    pub(super) fn forget(&mut self, slots: &[Slot]) {
        self.slots.retain(|known| slots.iter().all(|slot| decode::number_of(*slot) != *known));
    }
}

/// The claim, and the cursor to keep if the answer reaches the caller.
pub(super) async fn claim(
    connection: &mut PgConnection,
    sql: &Statements,
    number: u64,
    cursor: Option<Cursor>,
    request: &ClaimRequest<'_>,
) -> Result<(Claim, Cursor), sqlx::Error> {
    let slots: Vec<i16> = request.slots.iter().map(|slot| decode::number_of(*slot)).collect();
    // No transaction around these reads: only the caller's own settlements move messages of its slots, and what it
    // settles it holds. An act of a person that comes in between is told by the count of changes, read first.
    let reads_on = |cursor: &Cursor| {
        !request.restart
            && cursor.connection == number
            && slots.iter().all(|slot| cursor.slots.contains(slot))
    };
    let reads_on = cursor.as_ref().filter(|cursor| reads_on(cursor));
    let first = reads_on.is_none();
    let since =
        reads_on.filter(|cursor| !cursor.due).and_then(|cursor| cursor.reading.missed_nothing_before());
    let (look, rows, last) = match since {
        Some(xid) => {
            let next = sql.claim_next.query().bind(request.epoch.0).bind(xid).bind(&slots);
            let rows = next.bind(i64::from(FIRST_ROWS)).fetch_all(&mut *connection).await?;
            (Look::of(rows.first().ok_or(sqlx::Error::RowNotFound)?, MORE + 2)?, rows, 0)
        }
        None => {
            let row = sql.look.query().bind(request.epoch.0).fetch_one(&mut *connection).await?;
            (Look::of(&row, 0)?, Vec::new(), row.try_get(5)?)
        }
    };
    let Look { now, changes, blocked, due, snapshot } = look;
    let cursor = match cursor {
        Some(cursor) if !first => Cursor { slots: slots.clone(), due, ..cursor },
        earlier => Cursor {
            reading: Reading::First { snapshot: snapshot.clone(), mark: i64::MIN, last },
            slots: slots.clone(),
            connection: number,
            since: earlier.as_ref().filter(|_| !request.restart).map_or(number, |cursor| cursor.since),
            writer: 0,
            // A claim that only reads from the beginning does not make what the caller holds any newer.
            changes: earlier.as_ref().filter(|_| !request.restart).map_or(changes, |cursor| cursor.changes),
            due,
            due_first: earlier.is_some_and(|cursor| cursor.due_first),
        },
    };
    let mut work = Work { sql, request, slots, now, snapshot, cursor, claim: Claim::default() };
    let mut room = Room { messages: request.limit.max(1), bytes: request.max_bytes.max(1) };
    let mut due = match due {
        true => work.due(connection, room.messages).await?,
        // With something due the rows have to wait for their turn: they are read again.
        false => {
            work.first_rows(&rows, &mut room)?;
            Vec::new()
        }
    };
    if due.is_empty() {
        work.fresh(connection, &mut room).await?;
    } else {
        let mut half = room.half();
        let (messages, bytes) = (half.messages, half.bytes);
        if work.cursor.due_first {
            work.set_aside(connection, &mut due, &mut half).await?;
        } else {
            work.fresh(connection, &mut half).await?;
        }
        room.spend(messages - half.messages, bytes - half.bytes);
        if work.cursor.due_first {
            work.fresh(connection, &mut room).await?;
        }
        work.set_aside(connection, &mut due, &mut room).await?;
        work.cursor.due_first = !work.cursor.due_first;
        work.claim.more |= !due.is_empty();
    }
    work.find_blocked(connection, blocked).await?;
    work.claim.messages.sort_unstable_by_key(|claimed| claimed.place.seq);
    Ok((work.claim, work.cursor))
}

/// How much a claim may still answer.
struct Room {
    messages: usize,
    bytes: usize,
}

impl Room {
    fn half(&self) -> Self {
        Self { messages: self.messages.div_ceil(2), bytes: self.bytes.div_ceil(2) }
    }
    fn spend(&mut self, messages: usize, bytes: usize) {
        self.messages = self.messages.saturating_sub(messages);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
    fn is_full(&self) -> bool {
        self.messages == 0 || self.bytes == 0
    }
}

struct Work<'a> {
    sql: &'a Statements,
    request: &'a ClaimRequest<'a>,
    slots: Vec<i16>,
    now: i64,
    snapshot: Snapshot,
    cursor: Cursor,
    claim: Claim,
}

impl Work<'_> {
    /// Adds fresh messages that were not read yet.
    async fn fresh(&mut self, connection: &mut PgConnection, room: &mut Room) -> Result<(), sqlx::Error> {
        // What walks over dead rows only must answer now and then.
        for _ in 0..MOST_STATEMENTS {
            if room.is_full() {
                break;
            }
            let page = room.messages;
            let next = self.cursor.reading.next(&self.snapshot);
            let Some(query) = self.query(next, i64::try_from(page).unwrap_or(i64::MAX)) else {
                return Ok(());
            };
            let mut rows = query.fetch(&mut *connection);
            let mut read = 0;
            while let Some(row) = rows.try_next().await? {
                read += 1;
                self.take(&row, room)?;
                if room.is_full() {
                    self.claim.more = true;
                    return Ok(());
                }
            }
            if read < page {
                self.cursor.reading.drained();
            }
        }
        self.claim.more = true;
        Ok(())
    }

    /// Adds the fresh messages of `rows`, which came with the look.
    fn first_rows(&mut self, rows: &[PgRow], room: &mut Room) -> Result<(), sqlx::Error> {
        if rows.is_empty() {
            return Ok(());
        }
        // Opens the window that these are the first rows of.
        self.cursor.reading.next(&self.snapshot);
        let mut read = 0;
        for row in rows {
            if row.try_get_raw(0)?.is_null() {
                break;
            }
            read += 1;
            self.take(row, room)?;
            if room.is_full() {
                self.claim.more = true;
                return Ok(());
            }
        }
        if read < usize::from(FIRST_ROWS) {
            self.cursor.reading.drained();
        }
        Ok(())
    }

    /// Adds the fresh message of `row`, unless the caller holds it.
    fn take(&mut self, row: &PgRow, room: &mut Room) -> Result<(), sqlx::Error> {
        let place = Place { slot: decode::slot(row)?, seq: decode::seq(row)?, hint: lies_at(row)?.0 };
        self.cursor.reading.passed(xid(row)?, place.seq);
        if !self.request.held.contains(&place) {
            let due_in = decode::not_before(row).filter(|moment| *moment > self.now);
            self.add(row, place, Tally::default(), false, due_in, room);
        }
        Ok(())
    }

    fn query(&self, next: Next, limit: i64) -> Option<Query<'static, Postgres, PgArguments>> {
        let slots = self.slots.clone();
        Some(match next {
            Next::Nothing => return None,
            Next::First { mark, upto, snapshot } => {
                self.sql.claim_first.query().bind(mark).bind(upto).bind(slots).bind(snapshot).bind(limit)
            }
            Next::Late { xids, xid, seq } => {
                self.sql.claim_late.query().bind(xids).bind(xid).bind(seq).bind(slots).bind(limit)
            }
            Next::On { xid, seq, xmax, snapshot } => self
                .sql
                .claim_on
                .query()
                .bind(xid)
                .bind(seq)
                .bind(xmax)
                .bind(snapshot)
                .bind(slots)
                .bind(limit),
        })
    }

    /// The places that are due in the topics wanted, longest due first, at most `limit`; notes what is due next.
    async fn due(&mut self, connection: &mut PgConnection, limit: usize) -> Result<Vec<i64>, sqlx::Error> {
        let topics = self.sql.due_topics.query().bind(Micros(self.now)).fetch_all(&mut *connection).await?;
        let held = self.request.held.iter().filter(|place| place.hint == SET_ASIDE).count();
        let most = i64::try_from(limit.saturating_add(held)).unwrap_or(i64::MAX);
        let mut due: Vec<(i64, i64)> = Vec::new();
        for row in topics {
            let topic: &str = row.try_get(0)?;
            if !(self.request.wants)(topic) {
                continue;
            }
            if let Some(Micros(next)) = row.try_get(2)? {
                let next = micros::positive(next - self.now);
                self.claim.next_due = Some(self.claim.next_due.map_or(next, |earlier| earlier.min(next)));
            }
            if row.try_get::<Micros, _>(1)?.0 > self.now {
                continue;
            }
            let places: Vec<(Micros, i64, i16)> = self
                .sql
                .due_places
                .rows_as()
                .bind(topic)
                .bind(Micros(self.now))
                .bind(most)
                .bind(&self.slots)
                .fetch_all(&mut *connection)
                .await?;
            let is_free =
                |seq: i64, slot: Slot| !self.request.held.contains(&Place { slot, seq, hint: SET_ASIDE });
            let free = places.into_iter().filter(|(_, seq, slot)| is_free(*seq, decode::slot_of(*slot)));
            due.extend(free.map(|(due_at, seq, _)| (due_at.0, seq)));
        }
        due.sort_unstable();
        self.claim.more |= due.len() > limit;
        due.truncate(limit);
        Ok(due.into_iter().map(|(_, seq)| seq).collect())
    }

    /// Adds the messages of `places`, and takes out of `places` what it read.
    async fn set_aside(
        &mut self,
        connection: &mut PgConnection,
        places: &mut Vec<i64>,
        room: &mut Room,
    ) -> Result<(), sqlx::Error> {
        let count = places.len().min(room.messages);
        if count == 0 || room.is_full() {
            return Ok(());
        }
        let list = places[..count].to_vec();
        let mut rows = self.sql.claim_due.query().bind(list).fetch(connection);
        let mut last = None;
        while let Some(row) = rows.try_next().await? {
            let place = Place { slot: decode::slot(&row)?, seq: decode::seq(&row)?, hint: SET_ASIDE };
            let count = |column| row.try_get::<i32, _>(column).map(|count| u32::try_from(count).unwrap_or(0));
            let tally =
                Tally { attempts: count(MORE)?, crashes: count(MORE + 1)?, in_doubt: row.try_get(MORE + 2)? };
            last = Some(place.seq);
            // Asked for here: as a condition it would lead the planner to the index of what is due.
            if !row.try_get(MORE + 4)? {
                continue;
            }
            self.add(&row, place, tally, row.try_get(MORE + 3)?, None, room);
            if room.is_full() {
                break;
            }
        }
        // The rows come in the order of the list.
        let read =
            last.and_then(|last| places.iter().position(|seq| *seq == last)).map_or(count, |index| index + 1);
        places.drain(..read);
        Ok(())
    }

    fn add(
        &mut self,
        row: &PgRow,
        place: Place,
        tally: Tally,
        behind: bool,
        not_before: Option<i64>,
        room: &mut Room,
    ) {
        let message = decode::message(row);
        room.spend(1, message.as_ref().map_or(0, |message| message.payload.len()));
        let age = decode::ready_at(row).map_or(0, |ready_at| self.now.saturating_sub(ready_at));
        self.claim.messages.push(Claimed {
            place,
            message,
            fresh: place.hint != SET_ASIDE,
            tally,
            age: micros::positive(age),
            behind,
            due_in: not_before.map(|moment| micros::positive(moment.saturating_sub(self.now))),
        });
    }

    /// Says of the fresh messages whether their key is blocked: from the look, while few keys are; else one question for
    /// all of them.
    async fn find_blocked(
        &mut self,
        connection: &mut PgConnection,
        blocked: Blocked,
    ) -> Result<(), sqlx::Error> {
        match blocked {
            Blocked::Few(few) if few.is_empty() => {}
            Blocked::Few(few) => {
                for claimed in self.claim.messages.iter_mut().filter(|claimed| claimed.fresh) {
                    let Some((topic, key)) = key_of(claimed) else { continue };
                    claimed.behind = few.iter().any(|(of, blocked)| blocked == key && of == topic);
                }
            }
            Blocked::Many => self.ask_for_blocked(connection).await?,
        }
        Ok(())
    }

    async fn ask_for_blocked(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let mut keys: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
        for (index, claimed) in self.claim.messages.iter().enumerate().filter(|(_, claimed)| claimed.fresh) {
            if let Some(key) = key_of(claimed) {
                keys.entry(key).or_default().push(index);
            }
        }
        if keys.is_empty() {
            return Ok(());
        }
        let (list, places): (Vec<_>, Vec<Vec<usize>>) = keys.into_iter().unzip();
        let (topics, keys): (Vec<&str>, Vec<&str>) = list.into_iter().unzip();
        let blocked: Vec<i64> =
            self.sql.blocked_keys.scalar().bind(topics).bind(keys).fetch_all(connection).await?;
        let of_key = |n: i64| usize::try_from(n - 1).ok().and_then(|n| places.get(n));
        for index in blocked.into_iter().filter_map(of_key).flatten() {
            self.claim.messages[*index].behind = true;
        }
        Ok(())
    }
}

/// The topic and the key of a message that has one.
fn key_of(claimed: &Claimed) -> Option<(&str, &str)> {
    let (topic, key) = match &claimed.message {
        Ok(message) => (&message.topic, &message.key),
        Err(corrupt) => (&corrupt.topic, &corrupt.key),
    };
    key.as_deref().map(|key| (topic.as_str(), key))
}

fn lies_at(row: &PgRow) -> Result<Tid, sqlx::Error> {
    raw(row, MORE).map(Tid::from_bytes)
}

fn xid(row: &PgRow) -> Result<u64, sqlx::Error> {
    raw(row, MORE + 1).map(u64::from_be_bytes)
}

/// The bytes of a value. The statements send types that sqlx does not know as bytes: it would look such a type up in
/// between, and lose an unnamed statement over it.
fn raw<const N: usize>(row: &PgRow, column: usize) -> Result<[u8; N], sqlx::Error> {
    let bytes = row.try_get_raw(column)?.as_bytes().map_err(sqlx::Error::Decode)?;
    bytes.try_into().map_err(|error: std::array::TryFromSliceError| sqlx::Error::Decode(error.into()))
}
