//! Pins the plans that the comments in `src/postgres/sql/` ask for, on empty and on filled tables.

use std::collections::BTreeMap;
use std::path::Path;

use sqlx::{AssertSqlSafe, PgConnection};

use crate::fixture::Schema;

const FILL: &str = "
    INSERT INTO outbox_messages (topic, message_key, payload, idempotency_key)
    SELECT 't' || n % 5, 'k' || n % 100, 'x', CASE n % 10 WHEN 0 THEN 'i' || n END FROM generate_series(1, 20000) AS n;
    INSERT INTO outbox_deferred (seq, created_at, due_at, set_aside_at, id, state, topic, message_type, message_key,
        content_type, payload)
    SELECT seq + 100000, created_at, CASE WHEN seq % 4 < 2 THEN created_at END, created_at, id,
        (ARRAY['waiting', 'scheduled', 'parked', 'dead'])[seq % 4 + 1], topic, message_type, message_key, content_type,
        payload
    FROM outbox_messages;
    INSERT INTO outbox_history (seq, created_at, ended_at, attempts, crashes, id, in_doubt, state, topic, message_type,
        failures)
    SELECT seq + 200000, created_at, created_at, 0, 0, id, false, 'delivered', topic, '', '[]' FROM outbox_messages;
    INSERT INTO outbox_inbox (consumer, message_id) SELECT 'c', id FROM outbox_messages;
    INSERT INTO outbox_acts (message_id, what, who, why, at, attempts, crashes, in_doubt, failures)
    SELECT id, 'redrive', 'w', 'y', created_at, 0, 0, false, '[]' FROM outbox_messages LIMIT 1000;
    ANALYZE;";

const EMPTY: &str = "
    DELETE FROM outbox_messages; DELETE FROM outbox_deferred; DELETE FROM outbox_history; DELETE FROM outbox_inbox;
    DELETE FROM outbox_idempotency; DELETE FROM outbox_acts;
    ANALYZE;";

/// Statements that run on the application's pool, under its settings.
const OF_THE_POOL: [&str; 13] = [
    "acts_of",
    "counts",
    "enqueued_in",
    "find",
    "first_time",
    "insert_message",
    "insert_messages",
    "insert_messages_once",
    "known_keys",
    "list",
    "load_fresh",
    "load_set_aside",
    "places_of_ids",
];

/// Large tables that a statement may read through, as its comment says.
fn may_scan(statement: &str) -> &'static [&'static str] {
    match statement {
        "counts" => &["outbox_messages", "outbox_deferred", "outbox_history"],
        "find" | "places_of_ids" => &["outbox_messages"],
        _ => &[],
    }
}

/// Of the statements that matter most, what must be in their plan.
const PINNED: [(&str, &str); 33] = [
    ("claim_first", "Index Cond: ((seq > $1) AND (seq <= $2))"),
    ("claim_late", "Index Scan using outbox_messages_since"),
    ("claim_late", "(xid >= late.xid) AND (xid <= late.xid)"),
    ("claim_on", "Index Scan using outbox_messages_since"),
    ("claim_on", "Index Cond: ((ROW(xid, (seq + 0)) > ROW(($1)::xid8, $2)) AND (xid < ($3)::xid8))"),
    ("claim_next", "Index Scan using outbox_messages_since"),
    ("claim_next", "Index Cond: ((xid >= ($2)::xid8) AND (xid < pg_snapshot_xmax(look.snapshot)))"),
    ("blocked_keys", "Index Cond: ((topic = wanted.topic) AND (message_key = wanted.message_key))"),
    ("claim_due", "Index Cond: (seq = wanted.seq)"),
    ("due_places", "Index Only Scan using outbox_deferred_due"),
    ("due_topics", "Index Cond: ((topic = topics.topic) AND (due_at > $1))"),
    ("settle_delivered", "TID Cond: (ctid = d.lies_at)"),
    ("settle_delivered", "Index Cond: ((batch_no = ANY ($5)) AND (epoch = $1))"),
    ("settle_delivered_noted", "TID Cond: (ctid = d.lies_at)"),
    ("settle_delivered_noted", "Index Cond: ((batch_no = ANY ($5)) AND (epoch = $1))"),
    ("set_aside_again", "Index Cond: (seq = v.seq)"),
    ("set_aside_fresh", "Index Scan using outbox_messages_pkey"),
    ("history_delivered", "Index Scan using outbox_messages_pkey"),
    ("orphans", "Index Scan using outbox_messages_pkey"),
    (
        "set_aside_fresh",
        "Index Cond: ((topic = m_1.topic) AND (message_key = m_1.message_key) AND (seq < m_1.seq))",
    ),
    (
        "set_aside_fresh",
        "Index Cond: ((topic = m_2.topic) AND (message_key = m_2.message_key) AND (seq > m_2.seq))",
    ),
    ("look", "Index Cond: (ROW(topic, message_key) > ROW(blocked.topic, blocked.message_key))"),
    ("claim_next", "Index Cond: (ROW(topic, message_key) > ROW(blocked.topic, blocked.message_key))"),
    ("hold_back", "Index Cond: (seq = v.seq)"),
    ("hold_back", "Index Cond: ((topic = d.topic) AND (message_key = d.message_key) AND (seq > d.seq))"),
    ("promote", "outbox_deferred_front"),
    ("promote", "outbox_deferred_key"),
    (
        "promote",
        "Index Cond: ((topic = bounds.topic) AND (message_key = bounds.message_key) AND (seq <= bounds.last))",
    ),
    ("tidy_history", "TID Cond"),
    ("wait_behind", "Index Cond: (seq = v.seq)"),
    ("wait_behind", "Index Cond: ((topic = d.topic) AND (message_key = d.message_key) AND (seq < d.seq))"),
    ("delete_delivered", "Index Scan using outbox_messages_pkey"),
    ("in_flight", "outbox_journal"),
];

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn every_statement_finds_its_rows_by_an_index() {
    let schema = Schema::new().await;
    let mut wrong = Vec::new();
    for state in ["empty", "filled", "emptied"] {
        match state {
            "filled" => schema.execute(FILL).await,
            // Next to nothing is alive, and the statistics say so, but the dead are many.
            "emptied" => schema.execute(EMPTY).await,
            _ => {}
        }
        let mut pool = schema.pool.acquire().await.unwrap().detach();
        let mut own = schema.pool.acquire().await.unwrap().detach();
        sqlx::raw_sql(AssertSqlSafe(statements().remove("settings").unwrap()))
            .execute(&mut own)
            .await
            .unwrap();
        for (name, sql) in statements() {
            if ["settings", "lock_leases", "lock_schema", "schema_exists"].contains(&name.as_str()) {
                continue;
            }
            let of_the_pool = OF_THE_POOL.contains(&name.as_str());
            // On an empty table PostgreSQL rightly reads it through, and plans anew once it is analysed.
            if of_the_pool && state != "filled" {
                continue;
            }
            let plan = plan(if of_the_pool { &mut pool } else { &mut own }, &sql).await;
            for table in ["messages", "deferred", "idempotency", "inbox", "history", "acts"] {
                let table = format!("outbox_{table}");
                let scans = plan.contains(&format!("Seq Scan on {table}"));
                if scans && !may_scan(&name).contains(&table.as_str()) {
                    wrong.push(format!("{state}: {name} reads {table} through:\n{plan}"));
                }
            }
            for (_, step) in PINNED.iter().filter(|(pinned, _)| *pinned == name) {
                if !plan.contains(step) {
                    wrong.push(format!("{state}: {name} should have {step:?}:\n{plan}"));
                }
            }
            if ["claim_first", "claim_on"].contains(&name.as_str()) && plan.contains("Sort") {
                wrong.push(format!("{state}: {name} sorts what is waiting:\n{plan}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The statements by the name of their files.
fn statements() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/postgres/sql");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap())
    };
    std::fs::read_dir(folder).unwrap().map(read).collect()
}

/// The plan that is used whatever the parameters are, as it is for prepared statements in the long run.
async fn plan(conn: &mut PgConnection, sql: &str) -> String {
    let code: Vec<&str> = sql.lines().filter(|line| !line.starts_with("--")).collect();
    let code = code.join("\n");
    let count = (1..20).filter(|n| code.contains(&format!("${n}"))).count();
    let arguments = if count == 0 { String::new() } else { format!("({})", vec!["NULL"; count].join(", ")) };
    sqlx::raw_sql(AssertSqlSafe(format!(
        "SET plan_cache_mode = force_generic_plan; PREPARE statement AS {code}"
    )))
    .execute(&mut *conn)
    .await
    .unwrap_or_else(|error| panic!("{error}: {code}"));
    let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE statement{arguments}"));
    let rows = sqlx::raw_sql(explain).fetch_all(&mut *conn).await.unwrap();
    sqlx::raw_sql("DEALLOCATE statement").execute(conn).await.unwrap();
    rows.iter().map(|row| sqlx::Row::get::<String, _>(row, 0)).collect::<Vec<_>>().join("\n")
}
