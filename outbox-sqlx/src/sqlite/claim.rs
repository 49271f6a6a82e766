//! What may go out now: fresh messages after the place where the last claim stopped, and due ones set aside.

use futures_util::TryStreamExt;
use outbox_core::{Claim, ClaimRequest, Claimed, Place, Slot, Tally};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::decode::{self, MORE};
use super::statements::Statements;

/// [`Place::hint`] of a message in the table of fresh ones, and of one that was set aside.
pub(super) const FRESH: u64 = 0;
pub(super) const SET_ASIDE: u64 = 1;

/// How far a session has read; lives in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    /// The last fresh place that was handed out.
    mark: i64,
    /// The count of a person's acts that everything the caller holds is known to follow.
    pub(super) changes: Option<i64>,
    /// Whose turn it is to read first when both fresh and due messages wait: neither may starve.
    due_first: bool,
}

impl Cursor {
    pub(super) const START: Self = Self { mark: 0, changes: None, due_first: false };
}

/// The claim, and the cursor to keep if the answer reaches the caller.
pub(super) async fn claim(
    connection: &mut SqliteConnection,
    sql: &Statements,
    cursor: Cursor,
    request: &ClaimRequest<'_>,
) -> Result<(Claim, Cursor), sqlx::Error> {
    // No transaction around these reads: only the caller's own settlements move messages while it owns the outbox,
    // and what it settles it holds. An act of a person that comes in between is told by the count of changes, since
    // that is read first.
    let look = sqlx::query(sql.look.clone()).fetch_one(&mut *connection).await?;
    let now: i64 = look.try_get(0)?;
    let mut reading =
        Reading { sql, request, now, blocked: look.try_get(2)?, cursor, claim: Claim::default() };
    if request.restart {
        reading.cursor.mark = 0;
    }
    // A claim that reads on does not make what the caller holds any newer.
    if request.restart || reading.cursor.changes.is_none() {
        reading.cursor.changes = look.try_get(1)?;
    }
    let mut room = Room { messages: request.limit.max(1), bytes: request.max_bytes.max(1) };
    let mut due = match look.try_get(3)? {
        true => reading.due(connection, room.messages).await?,
        false => Vec::new(),
    };
    if due.is_empty() {
        reading.fresh(connection, &mut room).await?;
    } else {
        let mut half = room.half();
        let (messages, bytes) = (half.messages, half.bytes);
        if reading.cursor.due_first {
            reading.set_aside(connection, &mut due, &mut half).await?;
        } else {
            reading.fresh(connection, &mut half).await?;
        }
        room.spend(messages - half.messages, bytes - half.bytes);
        if reading.cursor.due_first {
            reading.fresh(connection, &mut room).await?;
        }
        reading.set_aside(connection, &mut due, &mut room).await?;
        reading.cursor.due_first = !reading.cursor.due_first;
        reading.claim.more |= !due.is_empty();
        reading.claim.messages.sort_unstable_by_key(|claimed| claimed.place.seq);
    }
    let Reading { claim, cursor, .. } = reading;
    Ok((claim, cursor))
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

struct Reading<'a> {
    sql: &'a Statements,
    request: &'a ClaimRequest<'a>,
    now: i64,
    /// Some key is blocked.
    blocked: bool,
    cursor: Cursor,
    claim: Claim,
}

impl Reading<'_> {
    /// Adds fresh messages after the mark.
    async fn fresh(&mut self, connection: &mut SqliteConnection, room: &mut Room) -> Result<(), sqlx::Error> {
        let statement = if self.blocked { &self.sql.claim_fresh_blocked } else { &self.sql.claim_fresh };
        while !room.is_full() {
            let page = room.messages;
            let mut rows = sqlx::query(statement.clone())
                .bind(self.cursor.mark)
                .bind(i64::try_from(page).unwrap_or(i64::MAX))
                .fetch(&mut *connection);
            let mut read = 0;
            while let Some(row) = rows.try_next().await? {
                read += 1;
                let place = Place { slot: Slot(0), seq: decode::seq(&row)?, hint: FRESH };
                self.cursor.mark = place.seq;
                if self.request.held.contains(&place) {
                    continue;
                }
                let behind = self.blocked && row.try_get(MORE)?;
                let due_in = decode::not_before(&row).filter(|moment| *moment > self.now);
                self.add(&row, place, Tally::default(), behind, due_in, room);
                if room.is_full() {
                    self.claim.more = true;
                    return Ok(());
                }
            }
            if read < page {
                return Ok(());
            }
        }
        self.claim.more = true;
        Ok(())
    }

    /// The places that are due in the topics wanted, longest due first, at most `limit`; notes what is due next.
    async fn due(
        &mut self,
        connection: &mut SqliteConnection,
        limit: usize,
    ) -> Result<Vec<i64>, sqlx::Error> {
        let topics =
            sqlx::query(self.sql.due_topics.clone()).bind(self.now).fetch_all(&mut *connection).await?;
        let held = self.request.held.iter().filter(|place| place.hint == SET_ASIDE).count();
        let most = i64::try_from(limit.saturating_add(held)).unwrap_or(i64::MAX);
        let mut due: Vec<(i64, i64)> = Vec::new();
        for row in topics {
            // A topic that is not text has no route.
            let Some(topic) = row.try_get(0).ok().filter(|topic: &String| (self.request.wants)(topic)) else {
                continue;
            };
            if let Some(next) = row.try_get::<Option<i64>, _>(2)? {
                let next = decode::positive(next - self.now);
                self.claim.next_due = Some(self.claim.next_due.map_or(next, |earlier| earlier.min(next)));
            }
            if row.try_get::<i64, _>(1)? <= self.now {
                let places =
                    sqlx::query_as(self.sql.due_places.clone()).bind(topic).bind(self.now).bind(most);
                due.extend::<Vec<(i64, i64)>>(places.fetch_all(&mut *connection).await?);
            }
        }
        due.retain(|(_, seq)| {
            !self.request.held.contains(&Place { slot: Slot(0), seq: *seq, hint: SET_ASIDE })
        });
        due.sort_unstable();
        self.claim.more |= due.len() > limit;
        due.truncate(limit);
        Ok(due.into_iter().map(|(_, seq)| seq).collect())
    }

    /// Adds the messages of `places`, and takes out of `places` what it read.
    async fn set_aside(
        &mut self,
        connection: &mut SqliteConnection,
        places: &mut Vec<i64>,
        room: &mut Room,
    ) -> Result<(), sqlx::Error> {
        let count = places.len().min(room.messages);
        if count == 0 || room.is_full() {
            return Ok(());
        }
        let list = super::json_list(places[..count].iter().copied());
        let mut rows = sqlx::query(self.sql.claim_due.clone()).bind(list).fetch(connection);
        let mut last = None;
        while let Some(row) = rows.try_next().await? {
            let place = Place { slot: Slot(0), seq: decode::seq(&row)?, hint: SET_ASIDE };
            let tally = Tally {
                attempts: row.try_get(MORE)?,
                crashes: row.try_get(MORE + 1)?,
                in_doubt: row.try_get(MORE + 2)?,
            };
            let behind = row.try_get(MORE + 3)?;
            self.add(&row, place, tally, behind, None, room);
            last = Some(place.seq);
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
        row: &SqliteRow,
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
            fresh: place.hint == FRESH,
            tally,
            age: decode::positive(age),
            behind,
            due_in: not_before.map(|moment| decode::positive(moment.saturating_sub(self.now))),
        });
    }
}
