//! A ladder of loops on PostgreSQL: from the bare owner loop, part by part, to the library's own statements; and the
//! loop that claims row by row.

use std::time::{Duration, SystemTime};

use outbox::{Headers, Message};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgRow, PgTypeInfo};
use sqlx::{AssertSqlSafe, Encode, Executor, PgConnection, Postgres, Row, Type};
use uuid::Uuid;

use super::Read;
use crate::database::PostgresBed;
use crate::load::{Load, number_in};
use crate::receiver::Receiver;

macro_rules! library {
    ($name:literal) => {
        include_str!(concat!("../../../outbox-sqlx/src/postgres/sql/", $name, ".sql"))
    };
}

/// The loops, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loop {
    /// Every row is marked as taken, sent and deleted; any number of dispatchers, no order.
    Claiming,
    /// One owner reads on and deletes; nothing guards it.
    Owner,
    /// And the key decides to which of sixteen slots a row belongs.
    Slots,
    /// And it reads what its snapshot sees, and looks for blocked keys, due messages and acts of people.
    Look,
    /// And a batch is noted before it goes out.
    Journal,
    /// And every write checks that the session still owns its slots.
    Fence,
    /// And a batch is settled and the next one begun in one statement.
    Folded,
    /// And the next read overlaps the write, on a second connection.
    Overlap,
    /// And rows are deleted where they lie: the statements of the library.
    Library,
}

const SEVERAL: &str =
    "SELECT seq, 0::smallint, id, topic, message_type, message_key, content_type, headers::text,
    idempotency_key, not_before, created_at, payload FROM";

const PLAIN: &str = "(
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    not_before timestamptz,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    topic text NOT NULL,
    message_type text NOT NULL DEFAULT '',
    message_key text,
    content_type text NOT NULL DEFAULT 'application/octet-stream',
    headers jsonb,
    idempotency_key text,
    payload bytea NOT NULL";

const FENCE: &str = "WITH me AS MATERIALIZED (
    SELECT s.changes FROM outbox_sessions AS s WHERE s.epoch = $1 AND s.fenced_at IS NULL FOR UPDATE
), held AS MATERIALIZED (
    SELECT FROM me WHERE (SELECT count(*) FROM outbox_leases AS l WHERE l.epoch = $1 AND l.slot = ANY ($3)) = 16
)";

const SLOTS: [i16; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

impl Loop {
    /// The ladder of parts.
    pub(crate) const PARTS: [Self; 8] = [
        Self::Owner,
        Self::Slots,
        Self::Look,
        Self::Journal,
        Self::Fence,
        Self::Folded,
        Self::Overlap,
        Self::Library,
    ];

    /// What a table calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Claiming => "row-claiming loop",
            Self::Owner => "bare owner loop",
            Self::Slots => "+ keys in 16 slots",
            Self::Look => "+ snapshot, blocked keys, acts",
            Self::Journal => "+ journal",
            Self::Fence => "+ fence",
            Self::Folded => "+ settle and begin in one statement",
            Self::Overlap => "+ read beside the write",
            Self::Library => "hand-written loop",
        }
    }

    const fn table(self) -> &'static str {
        match self {
            Self::Claiming => "claimed_messages",
            Self::Owner => "owner_messages",
            _ => "outbox_messages",
        }
    }

    /// Its table, with `load` in it.
    pub(crate) async fn fill(self, bed: &PostgresBed, load: Load) {
        match self {
            Self::Owner => bed.run(format!("CREATE TABLE IF NOT EXISTS owner_messages {PLAIN})")).await,
            Self::Claiming => {
                bed.run(format!(
                    "CREATE TABLE IF NOT EXISTS claimed_messages {PLAIN},
                     status smallint NOT NULL DEFAULT 0, attempts integer NOT NULL DEFAULT 0, lease_owner bigint,
                     lease_until timestamptz);
                     CREATE INDEX IF NOT EXISTS claimed_messages_waiting ON claimed_messages (seq) WHERE status = 0"
                ))
                .await;
            }
            _ => {}
        }
        bed.fill_table(self.table(), load).await;
    }

    pub(crate) async fn left(self, bed: &PostgresBed) -> usize {
        let left = bed.number(format!("SELECT count(*) FROM {}", self.table())).await;
        usize::try_from(left).expect("a small number")
    }

    /// Drains until `receiver` has reached its target, `batch` messages at a time.
    pub(crate) async fn drain(self, bed: &PostgresBed, batch: usize, receiver: &Receiver) {
        let mut owner = Owner {
            what: self,
            reader: bed.connect().await,
            writer: bed.connect().await,
            batch: i64::try_from(batch).expect("a small number"),
            mark: i64::MIN,
            epoch: 0,
            number: 0,
        };
        if self > Self::Owner {
            owner.begin_session().await;
        }
        if self < Self::Folded { owner.one_by_one(receiver).await } else { owner.folded(receiver).await }
    }
}

struct Owner {
    what: Loop,
    reader: PgConnection,
    writer: PgConnection,
    batch: i64,
    mark: i64,
    epoch: i64,
    number: i64,
}

impl Owner {
    async fn begin_session(&mut self) {
        for connection in [&mut self.reader, &mut self.writer] {
            sqlx::raw_sql(library!("settings")).execute(connection).await.expect("settings");
        }
        let session = "INSERT INTO outbox_sessions (name, instance, expires_at)
            VALUES ('by hand', gen_random_uuid(), 'infinity') RETURNING epoch";
        self.epoch = sqlx::query_scalar(session).fetch_one(&mut self.writer).await.expect("a session");
        let take = sqlx::query("UPDATE outbox_leases SET epoch = $1").bind(self.epoch);
        take.execute(&mut self.writer).await.expect("the leases");
    }

    /// Read, note, send, delete, and again.
    async fn one_by_one(&mut self, receiver: &Receiver) {
        while !receiver.is_done() {
            let rows = read(self.what, &mut self.reader, self.epoch, &mut self.mark, self.batch).await;
            assert!(!rows.is_empty(), "the table ran empty");
            self.number += 1;
            self.begin(&rows).await;
            receiver.see(rows.iter().map(|row| number_in(&row.message.payload)));
            self.settle(&rows).await;
        }
    }

    async fn begin(&mut self, rows: &[Read]) {
        let places = "INSERT INTO outbox_journal (epoch, batch_no, alone, places) ";
        let sql = match self.what {
            Loop::Journal => format!("{places} VALUES ($1, $2, false, $3)"),
            Loop::Fence => format!("{FENCE} {places} SELECT $1, $2, false, $4 FROM held"),
            _ => return,
        };
        let begin = sqlx::query(AssertSqlSafe(sql)).bind(self.epoch).bind(self.number);
        let begin = if self.what == Loop::Fence { begin.bind(SLOTS.as_slice()) } else { begin };
        let begun = begin.bind(seqs(rows)).execute(&mut self.writer).await.expect("a journal row");
        assert_eq!(begun.rows_affected(), 1);
    }

    async fn settle(&mut self, rows: &[Read]) {
        let table = self.what.table();
        let ended = "ended AS (DELETE FROM outbox_journal AS j WHERE j.epoch = $1 AND j.batch_no = $2)";
        let sql = match self.what {
            Loop::Journal => format!("WITH {ended} DELETE FROM outbox_messages WHERE seq = ANY ($3)"),
            Loop::Fence => {
                format!("{FENCE}, {ended} DELETE FROM outbox_messages AS m USING held WHERE m.seq = ANY ($4)")
            }
            _ => format!("DELETE FROM {table} WHERE seq = ANY ($1)"),
        };
        let mut settle = sqlx::query(AssertSqlSafe(sql));
        if self.what >= Loop::Journal {
            settle = settle.bind(self.epoch).bind(self.number);
        }
        if self.what == Loop::Fence {
            settle = settle.bind(SLOTS.as_slice());
        }
        let settled = settle.bind(seqs(rows)).execute(&mut self.writer).await.expect("a settlement");
        assert_eq!(settled.rows_affected(), rows.len() as u64);
    }

    /// Each statement settles one batch and begins the next.
    async fn folded(&mut self, receiver: &Receiver) {
        let Self { what, reader, writer, batch, epoch, .. } = self;
        let (what, batch, epoch) = (*what, *batch, *epoch);
        let (mut mark, mut number) = (self.mark, 1);
        let mut in_flight = read(what, reader, epoch, &mut mark, batch).await;
        settle_and_begin(what, writer, epoch, number, &[], &in_flight).await;
        let mut next = read(what, reader, epoch, &mut mark, batch).await;
        while !receiver.is_done() {
            assert!(!next.is_empty(), "the table ran empty");
            receiver.see(in_flight.iter().map(|row| number_in(&row.message.payload)));
            number += 1;
            let write = settle_and_begin(what, writer, epoch, number, &in_flight, &next);
            let after = if what == Loop::Folded {
                write.await;
                read(what, reader, epoch, &mut mark, batch).await
            } else {
                tokio::join!(write, read(what, reader, epoch, &mut mark, batch)).1
            };
            in_flight = std::mem::replace(&mut next, after);
        }
    }
}

/// The next rows.
async fn read(
    what: Loop,
    connection: &mut PgConnection,
    epoch: i64,
    mark: &mut i64,
    batch: i64,
) -> Vec<Read> {
    let own = what.table();
    let query = match what {
        Loop::Claiming => sqlx::query(AssertSqlSafe(format!(
            "UPDATE claimed_messages AS m SET status = 1, attempts = m.attempts + 1, lease_owner = 1,
                lease_until = clock_timestamp() + interval '30 s'
             WHERE m.seq = ANY (ARRAY (SELECT o.seq FROM claimed_messages AS o WHERE o.status = 0 ORDER BY o.seq
                LIMIT $1 FOR UPDATE SKIP LOCKED))
             RETURNING {}",
            SEVERAL.trim_start_matches("SELECT ").trim_end_matches("FROM")
        ))),
        Loop::Owner => {
            sqlx::query(AssertSqlSafe(format!("{SEVERAL} {own} WHERE seq > $1 ORDER BY seq LIMIT $2"))).bind(*mark)
        }
        Loop::Slots => sqlx::query(AssertSqlSafe(format!(
            "{SEVERAL} {own} WHERE seq > $1 AND partition_no = ANY ($2) ORDER BY seq LIMIT $3"
        )))
        .bind(*mark)
        .bind(SLOTS.as_slice()),
        _ => {
            let look = sqlx::query(library!("look")).bind(epoch).bind(true);
            let look = connection.fetch_one(look).await.expect("a look");
            assert_eq!(look.get::<Option<Vec<String>>, _>(2), None, "no key is blocked");
            let snapshot: String = look.get(4);
            let query = sqlx::query(library!("claim_first")).bind(*mark).bind(i64::MAX);
            query.bind(SLOTS.as_slice()).bind(snapshot)
        }
    };
    let rows = query.bind(batch).fetch_all(connection).await.expect("a read");
    let mut rows: Vec<Read> = rows.iter().map(|row| decode(row, what >= Loop::Look)).collect();
    if what == Loop::Claiming {
        rows.sort_unstable_by_key(|row| row.seq);
    }
    *mark = rows.last().map_or(*mark, |row| row.seq);
    rows
}

async fn settle_and_begin(
    what: Loop,
    connection: &mut PgConnection,
    epoch: i64,
    number: i64,
    done: &[Read],
    next: &[Read],
) {
    if what == Loop::Library {
        let settle = sqlx::query(library!("settle_delivered"))
            .bind(epoch)
            .bind(SLOTS.as_slice())
            .bind(done.iter().map(|row| Tid(row.lies_at)).collect::<Vec<_>>())
            .bind(seqs(done))
            .bind([number - 1].as_slice())
            .bind(number)
            .bind(false)
            .bind(seqs(next))
            .bind(0_i64);
        let row = settle.fetch_one(connection).await.expect("a settlement");
        assert!(
            row.get::<bool, _>(0) && row.get::<i64, _>(1) == done.len() as i64,
            "a row was not where it lay"
        );
        return;
    }
    let sql = format!(
        "{FENCE},
         gone AS (DELETE FROM outbox_messages AS m USING held WHERE m.seq = ANY ($4) RETURNING 1),
         ended AS (DELETE FROM outbox_journal AS j USING held WHERE j.epoch = $1 AND j.batch_no = $2 - 1),
         begun AS (INSERT INTO outbox_journal (epoch, batch_no, alone, places) SELECT $1, $2, false, $5 FROM held)
         SELECT (SELECT count(*) FROM gone) FROM held"
    );
    let settle = sqlx::query_scalar(AssertSqlSafe(sql)).bind(epoch).bind(number).bind(SLOTS.as_slice());
    let gone: i64 =
        settle.bind(seqs(done)).bind(seqs(next)).fetch_one(connection).await.expect("a settlement");
    assert_eq!(gone, done.len() as i64);
}

fn seqs(rows: &[Read]) -> Vec<i64> {
    rows.iter().map(|row| row.seq).collect()
}

fn decode(row: &PgRow, lies_at: bool) -> Read {
    let id: Uuid = row.get(2);
    let payload: &[u8] = row.get(11);
    let mut message = Message::new(id.into(), row.get::<&str, _>(3), payload.to_vec());
    message.message_type = row.get(4);
    message.key = row.get(5);
    message.content_type = row.get(6);
    let headers: Option<&str> = row.get(7);
    message.headers =
        headers.map_or_else(Headers::default, |json| Headers::from_json(json).expect("headers"));
    message.idempotency_key = row.get(8);
    message.created_at =
        SystemTime::UNIX_EPOCH + Duration::from_micros(raw::<8>(row, 10).map_or(0, u64::from_be_bytes));
    let lies_at = raw(row, 12).filter(|_| lies_at).unwrap_or_default();
    Read { seq: row.get(0), message, lies_at, mark: 0 }
}

/// A `ctid`, as PostgreSQL takes it in an array.
struct Tid([u8; 6]);

impl Type<Postgres> for Tid {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(27))
    }
}

impl PgHasArrayType for Tid {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1010))
    }
}

impl Encode<'_, Postgres> for Tid {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buf.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }
}

/// The bytes of a column; `None` where the row has no such column.
fn raw<const N: usize>(row: &PgRow, column: usize) -> Option<[u8; N]> {
    row.try_get_raw(column).ok()?.as_bytes().ok()?.try_into().ok()
}
