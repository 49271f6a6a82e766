//! What may go out now: fresh messages from where the last claim stopped, and due ones set aside.

use std::collections::{HashMap, HashSet};

use outbox_core::{Claim, ClaimRequest, Claimed, Place, Slot, Tally};
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row};

use super::decode::{self, MORE};
use super::look::Look;
use super::place;
use super::reading::Reading;
use super::script::json_list;
use super::statements::Statements;
use super::to_json;
use crate::micros;

/// How far a session has read; lives in memory.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    pub(super) reading: Reading,
    /// The slots that were read this far, a bit each.
    pub(super) slots: i64,
    /// The connection that read. A new one may lead to another server, after a failover.
    connection: u64,
    /// The connection that read everything which the caller holds: while it lives, the server lost nothing of it.
    pub(super) since: u64,
    /// The connection that settles, opened while `since` lived.
    pub(super) writer: u64,
    /// The count of a person's acts that everything the caller holds is known to follow.
    pub(super) changes: Option<i64>,
    /// The server's clock at the last claim, in microseconds.
    pub(super) now: i64,
    /// Something set aside was due, or was going to be, at the last claim.
    due: bool,
    /// The last claim read the fresh messages to their end.
    read_all: bool,
    /// Whose turn it is to read first when both fresh and due messages wait: neither may starve.
    due_first: bool,
}

impl Cursor {
    /// Notes what a look found.
    pub(super) fn looked(&mut self, look: &Look) {
        (self.now, self.due) = (look.now, look.due);
        self.reading.time_is(look.now);
    }

    /// When the session gets one of `slots` again, it is read from the beginning.
    pub(super) fn forget(&mut self, slots: &[Slot]) {
        self.slots &= !decode::bits(slots.iter().copied());
    }
}

/// The claim, and the cursor to keep if the answer reaches the caller.
pub(super) async fn claim(
    connection: &mut MySqlConnection,
    sql: &Statements,
    number: u64,
    cursor: Option<Cursor>,
    request: &ClaimRequest<'_>,
) -> Result<(Claim, Cursor), sqlx::Error> {
    let slots = decode::bits(request.slots.iter().copied());
    let reads_on =
        |cursor: &Cursor| !request.restart && cursor.connection == number && slots & !cursor.slots == 0;
    // No transaction around these reads: only the caller's own settlements move messages of its slots, and what it
    // settles it holds. An act of a person that comes in between is told by the count of changes, read first.
    let (cursor, look) = match cursor {
        Some(cursor) if reads_on(&cursor) => (Cursor { slots, ..cursor }, None),
        earlier => {
            let look = Look::ask(connection, sql, request.epoch).await?;
            let cursor = Cursor {
                reading: Reading::first(last_place(connection, sql).await?),
                slots,
                connection: number,
                since: earlier.as_ref().filter(|_| !request.restart).map_or(number, |cursor| cursor.since),
                writer: 0,
                // A claim that only reads from the beginning does not make what the caller holds any newer.
                changes: earlier
                    .as_ref()
                    .filter(|_| !request.restart)
                    .map_or(look.changes, |cursor| cursor.changes),
                now: look.now,
                due: look.due,
                read_all: false,
                due_first: earlier.is_some_and(|cursor| cursor.due_first),
            };
            (cursor, Some(look))
        }
    };
    let mut work =
        Work { sql, request, cursor, read_all: false, answered: HashSet::new(), claim: Claim::default() };
    work.look_at_doubtful(connection).await?;
    let mut room = Room { messages: request.limit.max(1), bytes: request.max_bytes.max(1) };
    let look = match look {
        Some(look) => look,
        // What is due has its turn beside the fresh messages; and where many come, the server takes longer to hand them on
        // together with the look than for a look of its own.
        None if work.cursor.due || !work.cursor.read_all => {
            let look = Look::ask(connection, sql, request.epoch).await?;
            work.cursor.looked(&look);
            look
        }
        None => work.look_and_read(connection, &mut room).await?,
    };
    let mut due = match look.due {
        true => work.due(connection, room.messages).await?,
        false => Vec::new(),
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
    if look.blocked {
        work.find_blocked(connection).await?;
    }
    work.cursor.read_all = work.read_all;
    work.claim.messages.sort_unstable_by_key(|claimed| claimed.place.seq);
    Ok((work.claim, work.cursor))
}

/// A place that none of those given out so far is above.
async fn last_place(connection: &mut MySqlConnection, sql: &Statements) -> Result<i64, sqlx::Error> {
    let next: Option<Option<i64>> =
        sqlx::query_scalar(sql.next_place.clone()).fetch_optional(connection).await?;
    Ok(next.flatten().unwrap_or(0))
}

/// How much a claim may still answer.
pub(super) struct Room {
    pub(super) messages: usize,
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
    pub(super) fn is_full(&self) -> bool {
        self.messages == 0 || self.bytes == 0
    }
}

/// A claim at work.
pub(super) struct Work<'a> {
    pub(super) sql: &'a Statements,
    pub(super) request: &'a ClaimRequest<'a>,
    pub(super) cursor: Cursor,
    /// The fresh messages were read to their end.
    pub(super) read_all: bool,
    /// The fresh messages in `claim`: where gaps were joined, another statement reads what lies between them again.
    pub(super) answered: HashSet<i64>,
    pub(super) claim: Claim,
}

impl Work<'_> {
    /// The places that are due in the topics wanted, longest due first, at most `limit`; notes what is due next.
    async fn due(&mut self, connection: &mut MySqlConnection, limit: usize) -> Result<Vec<i64>, sqlx::Error> {
        let held = self.request.held.iter().filter(|place| !place::is_fresh(place));
        let held: HashSet<i64> = held.map(|place| place.seq).collect();
        let most = i64::try_from(limit.saturating_add(held.len())).unwrap_or(i64::MAX);
        let mut due: Vec<(i64, i64)> = Vec::new();
        let mut from = String::new();
        // One statement for all topics would walk over all that is due, or over all that is not.
        loop {
            let first = sqlx::query_as(self.sql.due_topic.clone()).bind(&from);
            let Some((topic, first_due)): Option<(String, i64)> =
                first.fetch_optional(&mut *connection).await?
            else {
                break;
            };
            if (self.request.wants)(&topic) {
                let next = match first_due > self.cursor.now {
                    true => Some(first_due),
                    false => self.due_in(connection, &topic, most, &held, &mut due).await?,
                };
                if let Some(next) = next {
                    let next = micros::positive(next - self.cursor.now);
                    self.claim.next_due = Some(self.claim.next_due.map_or(next, |earlier| earlier.min(next)));
                }
            }
            // The next topic there can be, byte by byte.
            from = topic + "\0";
        }
        due.sort_unstable();
        self.claim.more |= due.len() > limit;
        due.truncate(limit);
        Ok(due.into_iter().map(|(_, seq)| seq).collect())
    }

    /// Adds the places that are due in `topic`; answers when the next one is.
    async fn due_in(
        &self,
        connection: &mut MySqlConnection,
        topic: &str,
        most: i64,
        held: &HashSet<i64>,
        due: &mut Vec<(i64, i64)>,
    ) -> Result<Option<i64>, sqlx::Error> {
        let places: Vec<(i64, i64)> = sqlx::query_as(self.sql.due_places.clone())
            .bind(topic)
            .bind(self.cursor.now)
            .bind(self.cursor.slots)
            .bind(most)
            .fetch_all(&mut *connection)
            .await?;
        due.extend(places.into_iter().filter(|(_, seq)| !held.contains(seq)));
        sqlx::query_scalar(self.sql.due_next.clone())
            .bind(self.cursor.now)
            .bind(topic)
            .fetch_one(connection)
            .await
    }

    /// Adds the messages of `places`, and takes out of `places` what it read.
    async fn set_aside(
        &mut self,
        connection: &mut MySqlConnection,
        places: &mut Vec<i64>,
        room: &mut Room,
    ) -> Result<(), sqlx::Error> {
        let count = places.len().min(room.messages);
        if count == 0 || room.is_full() {
            return Ok(());
        }
        let list = json_list(places[..count].iter().copied());
        let rows = sqlx::query(self.sql.claim_due.clone()).bind(list).fetch_all(connection).await?;
        let mut by_place = HashMap::new();
        for row in &rows {
            by_place.insert(decode::seq(row)?, row);
        }
        let mut read = 0;
        for seq in &places[..count] {
            if room.is_full() {
                break;
            }
            read += 1;
            let Some(row) = by_place.get(seq) else { continue };
            let place = place::set_aside(decode::slot(row)?, *seq, row.try_get(MORE + 5)?);
            let count = |column| row.try_get::<i32, _>(column).map(|count| u32::try_from(count).unwrap_or(0));
            let tally =
                Tally { attempts: count(MORE)?, crashes: count(MORE + 1)?, in_doubt: row.try_get(MORE + 2)? };
            if row.try_get(MORE + 4)? {
                self.add(row, place, tally, row.try_get(MORE + 3)?, None, room);
            }
        }
        places.drain(..read);
        Ok(())
    }

    pub(super) fn add(
        &mut self,
        row: &MySqlRow,
        place: Place,
        tally: Tally,
        behind: bool,
        not_before: Option<i64>,
        room: &mut Room,
    ) {
        let message = decode::message(row);
        room.spend(1, message.as_ref().map_or(0, |message| message.payload.len()));
        let age = decode::ready_at(row).map_or(0, |ready_at| self.cursor.now.saturating_sub(ready_at));
        self.claim.messages.push(Claimed {
            place,
            message,
            fresh: place::is_fresh(&place),
            tally,
            age: micros::positive(age),
            behind,
            due_in: not_before.map(|moment| micros::positive(moment.saturating_sub(self.cursor.now))),
        });
    }

    /// Says of the fresh messages whether their key is blocked: one question for all, and none while no key is.
    async fn find_blocked(&mut self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        let mut keys: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
        for (index, claimed) in self.claim.messages.iter().enumerate().filter(|(_, claimed)| claimed.fresh) {
            let (topic, key) = match &claimed.message {
                Ok(message) => (&message.topic, &message.key),
                Err(corrupt) => (&corrupt.topic, &corrupt.key),
            };
            if let Some(key) = key {
                keys.entry((topic, key)).or_default().push(index);
            }
        }
        if keys.is_empty() {
            return Ok(());
        }
        let (list, places): (Vec<_>, Vec<Vec<usize>>) = keys.into_iter().unzip();
        let blocked: Vec<i64> = sqlx::query_scalar(self.sql.blocked_keys.clone())
            .bind(to_json(&list)?)
            .fetch_all(connection)
            .await?;
        let of_key = |n: i64| usize::try_from(n - 1).ok().and_then(|n| places.get(n));
        for index in blocked.into_iter().filter_map(of_key).flatten() {
            self.claim.messages[*index].behind = true;
        }
        Ok(())
    }
}
