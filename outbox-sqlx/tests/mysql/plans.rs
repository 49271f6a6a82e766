//! Pins the plans that the comments in `src/mysql/sql/` ask for, on empty, filled and emptied tables.

use std::collections::BTreeMap;
use std::path::Path;

use sqlx::{AssertSqlSafe, MySqlConnection, Row};

use crate::fixture::Database;

const FILL: &str = "
    INSERT INTO outbox_messages (topic, message_key, payload, idempotency_key)
    WITH RECURSIVE ten (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM ten WHERE n < 9)
    SELECT CONCAT('t', e.n % 5), CONCAT('k', d.n, e.n), 'x',
        IF(e.n = 0, CONCAT('i', a.n, b.n, c.n, d.n), NULL)
    FROM ten AS a, ten AS b, ten AS c, ten AS d, ten AS e WHERE a.n < 2 AND b.n < 5;
    INSERT INTO outbox_deferred (seq, created_at, due_at, set_aside_at, id, state, topic, message_type, message_key,
        content_type, failures, payload)
    SELECT seq + 100000, created_at, IF(seq % 4 < 2, created_at, NULL), created_at, id,
        ELT(seq % 4 + 1, 'waiting', 'scheduled', 'parked', 'dead'), topic, message_type, message_key, content_type,
        '[]', payload
    FROM outbox_messages;
    INSERT INTO outbox_history (seq, created_at, ended_at, attempts, crashes, id, in_doubt, state, topic, message_type,
        failures)
    SELECT seq + 200000, created_at, created_at, 0, 0, id, FALSE, 'delivered', topic, '', '[]' FROM outbox_messages;
    INSERT INTO outbox_inbox (consumer, message_id) SELECT 'c', id FROM outbox_messages;
    INSERT INTO outbox_acts (message_id, what, who, why, at, attempts, crashes, in_doubt, failures)
    SELECT id, 'redrive', 'w', 'y', created_at, 0, 0, FALSE, '[]' FROM outbox_messages LIMIT 1000;
    ANALYZE TABLE outbox_messages, outbox_deferred, outbox_history, outbox_inbox, outbox_idempotency, outbox_acts";

const EMPTY: &str = "
    DELETE FROM outbox_messages; DELETE FROM outbox_deferred; DELETE FROM outbox_history; DELETE FROM outbox_inbox;
    DELETE FROM outbox_idempotency; DELETE FROM outbox_acts;
    ANALYZE TABLE outbox_messages, outbox_deferred, outbox_history, outbox_inbox, outbox_idempotency, outbox_acts";

/// The tables that may be large.
const LARGE: [&str; 6] = ["messages", "deferred", "idempotency", "inbox", "history", "acts"];

/// Aliases of large tables that a statement may read through, as its comment says.
fn may_scan(statement: &str) -> &'static [&'static str] {
    match statement {
        "counts" => &["m", "d", "h"],
        "find_fresh" | "places_of_ids" => &["m"],
        "all_places" => &["outbox_messages"],
        _ => &[],
    }
}

/// Statements that MySQL may walk an index for while the table is empty: it begins where the range does, at the oldest
/// entry, and everything they ask for is in the index.
const FROM_THE_OLDEST: [&str; 4] = ["old_acts", "old_history", "old_idempotency", "old_inbox"];

/// Of the statements that matter most, how they must come to their rows: statement, alias, kind of access and index.
const PINNED: [(&str, &str, &str, &str); 24] = [
    ("claim", "m", "range", "PRIMARY"),
    ("claim_next", "m", "range", "PRIMARY"),
    ("places_twice", "outbox_messages", "range", "PRIMARY"),
    ("settle_delivered", "m", "eq_ref", "PRIMARY"),
    ("settle_delivered", "j", "eq_ref", "PRIMARY"),
    ("delete_delivered", "m", "eq_ref", "PRIMARY"),
    ("delete_deferred", "d", "eq_ref", "PRIMARY"),
    ("set_aside_again", "d", "eq_ref", "PRIMARY"),
    ("set_aside_fresh", "m", "eq_ref", "PRIMARY"),
    ("whereabouts", "head", "ref", "outbox_deferred_key"),
    ("wait_behind", "head", "ref", "outbox_deferred_key"),
    ("hold_back", "later", "ref", "outbox_deferred_front"),
    ("without_front", "head", "ref", "outbox_deferred_key"),
    ("without_front", "front", "ref", "outbox_deferred_front"),
    ("front", "outbox_deferred", "ref", "outbox_deferred_key"),
    ("blocked_keys", "head", "ref", "outbox_deferred_key"),
    ("claim_due", "d", "eq_ref", "PRIMARY"),
    ("due_topic", "outbox_deferred", "range", "outbox_deferred_due"),
    ("due_places", "outbox_deferred", "range", "outbox_deferred_due"),
    ("known_keys", "known", "eq_ref", "PRIMARY"),
    ("known_keys_now", "known", "eq_ref", "PRIMARY"),
    ("free_keys", "known", "eq_ref", "PRIMARY"),
    ("orphans", "m", "eq_ref", "PRIMARY"),
    ("tidy_idempotency", "kept", "eq_ref", "PRIMARY"),
];

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn every_statement_finds_its_rows_by_an_index() {
    let database = Database::new().await;
    let mut conn = database.pool.acquire().await.unwrap().detach();
    sqlx::raw_sql("SET @outbox_keys = '[[\"t\", \"k\"]]', @outbox_held = 1, @outbox_unchanged = 1")
        .execute(&mut conn)
        .await
        .unwrap();
    let mysql = !database.is_mariadb().await;
    let mut wrong = Vec::new();
    for state in ["empty", "filled", "emptied"] {
        match state {
            "filled" => database.execute(FILL).await,
            // Next to nothing is alive, and the statistics say so, but the dead are many.
            "emptied" => database.execute(EMPTY).await,
            _ => {}
        }
        for (name, sql) in statements() {
            let mut accesses = Vec::new();
            for one in sql.split(";\n") {
                if let Some(explained) = explainable(one) {
                    accesses.extend(plan(&mut conn, &name, &explained).await);
                }
            }
            if accesses.iter().any(|(table, ..)| table.starts_with("<union")) && name == "claim_next" {
                wrong.push(format!("{state}: {name} puts its rows into a table before it answers them"));
            }
            for (alias, access, index, sorts) in &accesses {
                let large = LARGE.iter().any(|table| {
                    alias == &format!("outbox_{table}")
                        || sql.contains(&format!("outbox_{table} AS {alias} "))
                        || sql.contains(&format!("outbox_{table} AS {alias}\n"))
                });
                let from_the_oldest = mysql && state != "filled" && FROM_THE_OLDEST.contains(&name.as_str());
                let scans = access == "ALL" || (access == "index" && !from_the_oldest);
                if large && *sorts && !may_scan(&name).contains(&alias.as_str()) {
                    wrong.push(format!("{state}: {name} sorts what it reads of {alias}"));
                }
                if large && scans && !may_scan(&name).contains(&alias.as_str()) {
                    wrong.push(format!("{state}: {name} reads {alias} through ({access} {index})"));
                }
            }
            for (_, alias, access, index) in PINNED.iter().filter(|(pinned, ..)| *pinned == name) {
                let pinned = (*alias, *access, *index);
                if !accesses.iter().any(|(alias, access, index, _)| pinned == (alias, access, index)) {
                    wrong.push(format!("{state}: {name} should have {pinned:?}, and has {accesses:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The statements by the name of their files.
fn statements() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/mysql/sql");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let code: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), code.join("\n") + "\n")
    };
    std::fs::read_dir(folder).unwrap().map(read).collect()
}

/// The statement with plausible values in the place of its parameters, if it is one that has a plan.
fn explainable(sql: &str) -> Option<String> {
    let sql = sql.trim();
    let has_plan = ["SELECT", "(SELECT", "DELETE", "UPDATE"].iter().any(|word| sql.starts_with(word))
        || (sql.starts_with("INSERT") && sql.contains("SELECT"));
    // Where values go to variables there is nothing to show but the values.
    if !has_plan || sql.contains(" INTO @") {
        return None;
    }
    let mut text = sql.to_owned();
    for (parameter, value) in [
        ("{ranges}", "(seq BETWEEN 1 AND 2 OR seq BETWEEN 5 AND 6)"),
        ("{receipts}", "'[[1, null]]'"),
        ("{places}", "[1, 2]"),
        ("{ended}", "[1]"),
        ("{limit}", "10"),
        ("{epoch}", "1"),
        ("JSON_TABLE(?", "JSON_TABLE('[[1, \"k\"]]'"),
        ("topic >= ?", "topic >= 't'"),
        ("topic = ?", "topic = 't1'"),
        ("message_key = ?", "message_key = 'k1'"),
        ("id = ?", "id = x'00112233445566778899aabbccddeeff'"),
        ("state_now = ?", "state_now = 'waiting'"),
        ("m.seq > ? AND m.seq <= ?", "m.seq > 100 AND m.seq <= 9223372036854775807"),
        ("BETWEEN ? AND ?", "BETWEEN 5 AND 6"),
        ("?", "1"),
    ] {
        text = text.replace(parameter, value);
    }
    Some(text)
}

/// Table, kind of access and index of each step, and whether its rows are sorted.
async fn plan(conn: &mut MySqlConnection, name: &str, sql: &str) -> Vec<(String, String, String, bool)> {
    // A table on both servers; MySQL's own default is a tree.
    let explain = AssertSqlSafe(format!("EXPLAIN FORMAT = TRADITIONAL {sql}"));
    let rows =
        sqlx::raw_sql(explain).fetch_all(conn).await.unwrap_or_else(|error| panic!("{name}: {error}: {sql}"));
    let column = |row: &sqlx::mysql::MySqlRow, name: &str| {
        row.try_get::<Option<String>, _>(name).unwrap().unwrap_or_default()
    };
    // MySQL also tells the table that an INSERT writes to.
    let reads = rows.iter().filter(|row| column(row, "select_type") != "INSERT");
    let sorts = |row| column(row, "Extra").contains("filesort");
    reads.map(|row| (column(row, "table"), column(row, "type"), column(row, "key"), sorts(row))).collect()
}
