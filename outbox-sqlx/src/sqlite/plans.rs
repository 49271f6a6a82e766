//! Pins the plans that the comments in `sql/` ask for, on empty and on filled tables.

use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

use super::migrate::migrations;
use super::statements::Statements;
use crate::statement::DEFAULT_PREFIX;

const FILL: &str = "
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
    INSERT INTO outbox_messages (topic, message_key, payload, idempotency_key)
    SELECT 't' || (i % 5), 'k' || (i % 100), 'x', 'i' || i FROM n;
    INSERT INTO outbox_deferred
    SELECT seq + 100000, id, topic, message_type, message_key, content_type, headers, idempotency_key, not_before,
        created_at,
        CASE seq % 4 WHEN 0 THEN 'waiting' WHEN 1 THEN 'scheduled' WHEN 2 THEN 'parked' ELSE 'dead' END,
        CASE WHEN seq % 4 < 2 THEN seq END, 0, 0, 0, '[]', 0, payload
    FROM outbox_messages;
    INSERT INTO outbox_history
    SELECT seq, id, topic, message_type, message_key, 'delivered', 0, 0, 0, '[]', NULL, 0, 0 FROM outbox_messages;
    INSERT INTO outbox_inbox SELECT 'c', id, 1 FROM outbox_messages;
    ANALYZE;";

/// Steps that may read a whole table: lists of the caller, tables of a few rows, and what says so in its comment.
fn may_scan(statement: &str, step: &str) -> bool {
    const SMALL: [&str; 7] = [
        "SCAN CONSTANT ROW",
        "SCAN outbox_state",
        "SCAN outbox_schema",
        "SCAN sqlite_master",
        "SCAN keys",
        "SCAN bounds",
        "SCAN topics",
    ];
    let allowed: &[&str] = match statement {
        "counts" => {
            &["SCAN outbox_messages", "SCAN outbox_deferred", "SCAN outbox_history", "SCAN outbox_overview"]
        }
        "find" | "places_of_ids" => &["SCAN outbox_messages"],
        "in_flight" | "orphans" | "places_of_states" => &["SCAN j"],
        // EXISTS: the first entry of the index is enough.
        "look" => &[
            "SCAN outbox_deferred USING INDEX outbox_deferred_key",
            "SCAN outbox_deferred USING COVERING INDEX outbox_deferred_due",
        ],
        // The hundred rows that the subquery before it found.
        "promote" => &["SCAN first"],
        "take_over" => &["SCAN outbox_journal", "SCAN outbox_sessions"],
        _ => &[],
    };
    step.contains("VIRTUAL TABLE") || SMALL.contains(&step) || allowed.contains(&step)
}

/// Of the statements that matter most, what must be in their plan.
const PINNED: [(&str, &str); 15] = [
    ("claim_fresh", "SEARCH outbox_messages USING INTEGER PRIMARY KEY (rowid>?)"),
    ("claim_fresh_blocked", "SEARCH head USING INDEX outbox_deferred_key (topic=? AND message_key=?)"),
    ("claim_due", "SEARCH d USING INTEGER PRIMARY KEY (rowid=?)"),
    ("due_places", "SEARCH outbox_deferred USING COVERING INDEX outbox_deferred_due (topic=? AND due_at<?)"),
    ("due_topics", "SEARCH d USING COVERING INDEX outbox_deferred_due (topic>?)"),
    ("settle_delivered", "SEARCH outbox_messages USING INTEGER PRIMARY KEY (rowid=?)"),
    ("set_aside_again", "SEARCH d USING INTEGER PRIMARY KEY (rowid=?)"),
    ("set_aside_fresh", "SEARCH head USING INDEX outbox_deferred_key (topic=? AND message_key=? AND seq<?)"),
    (
        "wait_behind",
        "SEARCH head EXISTS USING INDEX outbox_deferred_key (topic=? AND message_key=? AND seq<?)",
    ),
    ("hold_back", "SEARCH later USING INDEX outbox_deferred_front (topic=? AND message_key=? AND seq>?)"),
    ("promote", "SEARCH d USING INDEX outbox_deferred_key (topic=? AND message_key=? AND seq<?)"),
    ("promote", "SEARCH front USING INDEX outbox_deferred_front (topic=? AND message_key=?)"),
    ("known_keys", "SEARCH known USING PRIMARY KEY (topic=? AND idempotency_key=?)"),
    ("list", "MERGE (UNION ALL)"),
    ("places_of_states", "MERGE (UNION ALL)"),
];

#[tokio::test]
async fn every_statement_finds_its_rows_by_an_index() {
    let mut conn = tables().await;
    for filled in [false, true] {
        if filled {
            sqlx::raw_sql(FILL).execute(&mut conn).await.unwrap();
        }
        let plans = plans(&mut conn).await;
        for (name, step) in &plans {
            let scans = step.starts_with("SCAN");
            assert!(!scans || may_scan(name, step), "filled: {filled}, {name} reads through a table: {step}");
            assert!(
                !step.contains("AUTOMATIC"),
                "filled: {filled}, {name} builds an index each time: {step}"
            );
        }
        for (name, step) in PINNED {
            let found = plans.iter().any(|(known, found)| *known == name && found == step);
            let plan: Vec<_> = plans.iter().filter(|(known, _)| *known == name).collect();
            assert!(found, "filled: {filled}, {name} should have the step {step:?} and has {plan:#?}");
        }
    }
}

async fn tables() -> SqliteConnection {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    for migration in migrations(DEFAULT_PREFIX) {
        sqlx::raw_sql(AssertSqlSafe(migration.sql)).execute(&mut conn).await.unwrap();
    }
    conn
}

/// The steps of every statement, by its name.
async fn plans(conn: &mut SqliteConnection) -> Vec<(&'static str, String)> {
    let mut plans = Vec::new();
    for (name, sql) in Statements::new(DEFAULT_PREFIX).all() {
        let parts = sql.as_str().split(";\n").map(str::trim);
        for part in parts.filter(|part| !["", "BEGIN IMMEDIATE", "COMMIT", "COMMIT;"].contains(part)) {
            let explain = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {part}")));
            for row in explain.fetch_all(&mut *conn).await.unwrap() {
                plans.push((name, row.get(3)));
            }
        }
    }
    plans
}
