//! Clients that are not ours: any of them may insert messages.

use std::path::Path;
use std::process::Command;

use outbox_core::{
    Act, Enqueued, Fence, MessageState, NewMessage, OnDead, OutboxAdmin, Selection, Tally, Verdict,
};

use crate::fixture::{File, delivered, failure, message};

#[path = "../documented/statements.rs"]
mod documented;

/// Runs `script` in Python's own SQLite on the file `argv[1]`.
fn python(script: &str, file: &Path) -> String {
    let output = Command::new("python3").args(["-c", script]).arg(file).output().expect(
        "this test inserts with Python's sqlite3 module: install python3, so that `python3` can be run",
    );
    assert!(output.status.success(), "python3 failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
#[ignore = "needs python3; scripts/test runs it"]
async fn a_topic_and_a_payload_are_enough_for_another_client() {
    let file = File::new().await;
    python(
        r#"
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
with db:
    db.execute("INSERT INTO outbox_messages (topic, payload) VALUES ('t', 'text')")
    db.execute("INSERT INTO outbox_messages (topic, payload) VALUES ('t', ?)", (b'\x00\xff',))
    db.execute("INSERT INTO outbox_messages (topic, payload, message_key, headers) VALUES ('t', '{}', 'k', '{\"a\":\"b\"}')")
"#,
        &file.path(),
    );
    let claimed = file.session().await.claim().await;
    let messages: Vec<_> = claimed.into_iter().map(|claimed| claimed.message.unwrap()).collect();
    let payloads: Vec<&[u8]> = messages.iter().map(|message| message.payload.as_ref()).collect();
    assert_eq!(payloads, [&b"text"[..], &b"\x00\xff"[..], &b"{}"[..]]);
    assert_eq!(messages[0].topic, "t");
    assert_eq!(messages[0].message_type, "");
    assert_eq!(messages[0].content_type, "application/octet-stream");
    assert_eq!(messages[0].id.as_uuid().get_version_num(), 4);
    assert_ne!(messages[0].id, messages[1].id);
    assert_eq!(messages[2].key.as_deref(), Some("k"));
    assert_eq!(messages[2].headers.get("a"), Some("b"));
    assert!(messages[0].created_at.elapsed().unwrap().as_secs() < 60, "the time has a default, in UTC");
}

#[tokio::test]
#[ignore = "needs python3; scripts/test runs it"]
async fn an_idempotency_key_holds_for_other_clients_too() {
    let file = File::new().await;
    let insert = r#"
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
with db:
    sql = "INSERT INTO outbox_messages (topic, payload, idempotency_key) VALUES ('t', 'x', 'once')"
    print(db.execute(sql).rowcount, db.execute(sql).rowcount)
    print(db.execute("SELECT message_id FROM outbox_idempotency").fetchone()[0])
"#;
    let printed = python(insert, &file.path());
    let (counts, id) = printed.trim().split_once('\n').unwrap();
    assert_eq!(counts, "1 0", "the second insert is left out");
    let again = NewMessage::builder("t").idempotency_key("once").build().unwrap();
    assert_eq!(file.send(&[again]).await, [Enqueued::Duplicate(id.parse().unwrap())]);
    assert_eq!(file.session().await.claim().await.len(), 1);
}

#[tokio::test]
async fn a_redriven_dead_letter_passes_its_own_idempotency_key() {
    let file = File::new().await;
    let once = NewMessage::builder("t").idempotency_key("once").build().unwrap();
    file.send(std::slice::from_ref(&once)).await;
    let mut session = file.session().await;
    let place = session.claim().await[0].place;
    let dead = Verdict::Dead { tally: Tally::default(), failure: failure(1), then: OnDead::Skip };
    session.settle(&[(place, dead)]).await;
    // The key was forgotten and taken by another message: that must not swallow the dead letter.
    file.execute("DELETE FROM outbox_idempotency").await;
    let other = NewMessage::builder("t").idempotency_key("once").build().unwrap();
    file.send(std::slice::from_ref(&other)).await;
    let all = Selection::All { topic: None, state: Some(MessageState::Dead) };
    assert_eq!(file.outbox.redrive(&all, &Act::new("me", "fixed")).await.unwrap(), 1);
    let claimed = session.claim_all(10, true).await.messages;
    let ids: Vec<_> = claimed.iter().map(|claimed| claimed.message.as_ref().unwrap().id).collect();
    assert_eq!(ids, [other.id(), once.id()]);
}

#[tokio::test]
async fn rows_that_cannot_be_decoded_come_as_errors_beside_their_neighbours() {
    let file = File::new().await;
    file.execute(
        "INSERT INTO outbox_messages (topic, payload, id) VALUES ('t', 'x', 'no uuid');
         INSERT INTO outbox_messages (topic, payload, headers, message_key) VALUES ('t', 'x', '[1]', 'k');
         INSERT INTO outbox_messages (topic, payload, headers) VALUES ('t', 'x', '{\"a\":1}');
         INSERT INTO outbox_messages (topic, payload) VALUES ('t', 5);
         INSERT INTO outbox_messages (topic, payload) VALUES (x'ff', 'x');
         INSERT INTO outbox_messages (topic, payload, created_at) VALUES ('t', 'x', 'yesterday');
         INSERT INTO outbox_messages (topic, payload, created_at) VALUES ('t', 'x', 9223372036854775807);
         INSERT INTO outbox_messages (topic, payload, not_before) VALUES ('t', 'x', 'tomorrow');
         INSERT INTO outbox_messages (topic, payload) VALUES ('t', 'good');",
    )
    .await;
    let mut session = file.session().await;
    let claimed = session.claim().await;
    assert_eq!(claimed.len(), 9);
    let reasons: Vec<_> = claimed.iter().filter_map(|c| c.message.as_ref().err()).collect();
    let texts: Vec<_> = reasons.iter().map(|corrupt| corrupt.reason.as_str()).collect();
    for (index, word) in ["id", "headers", "headers", "payload", "topic", "created_at"].iter().enumerate() {
        assert!(texts[index].starts_with(word), "{texts:?}");
    }
    assert_eq!((reasons[1].topic.as_str(), reasons[1].key.as_deref()), ("t", Some("k")));
    assert!(reasons[0].id.is_none() && reasons[1].id.is_some());
    assert_eq!(claimed[8].message.as_ref().unwrap().payload.as_ref(), b"good");

    // They can be listed, set aside as dead letters, and discarded.
    let dead = Verdict::Dead { tally: Tally::default(), failure: failure(0), then: OnDead::Skip };
    let verdicts: Vec<_> = claimed.iter().map(|claimed| (claimed.place, dead.clone())).collect();
    session.settle(&verdicts).await;
    assert_eq!(file.outbox.list(&outbox_core::PageRequest::default()).await.unwrap().messages.len(), 9);
    let all = Selection::All { topic: None, state: Some(MessageState::Dead) };
    assert_eq!(file.outbox.discard(&all, &Act::new("me", "broken")).await.unwrap(), 9);
}

#[tokio::test]
#[ignore = "needs python3; scripts/test runs it"]
async fn the_overview_is_readable_by_plain_sql() {
    let file = File::new().await;
    file.send(&[message("t", "k"), message("t", "k")]).await;
    let mut session = file.session().await;
    let claimed = session.claim().await;
    assert_eq!(session.begin(&[claimed[0].place], false).await.0, Fence::Held);
    let printed = python(
        r#"
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print(db.execute("SELECT state, count(*) FROM outbox_overview GROUP BY state").fetchall())
print(db.execute("SELECT count(*) FROM outbox_journal, json_each(places)").fetchall())
"#,
        &file.path(),
    );
    assert_eq!(printed, "[('waiting', 2)]\n[(1,)]\n");
    session.settle(&[(claimed[0].place, delivered())]).await;
}

#[tokio::test]
#[ignore = "needs python3; scripts/test runs it"]
async fn the_documented_statements_run_as_they_stand() {
    let file = File::new().await;
    let _session = file.session().await;
    let script = format!(
        r#"
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in """{}""".split(";"):
    for row in db.execute(statement):
        print(*row)
"#,
        documented::statements("SQLite")
    );
    let answer = python(&script, &file.path());
    let lines: Vec<&str> = answer.lines().collect();
    assert_eq!(lines.len(), 2, "one message waits, and one session delivers: {answer}");
    assert!(lines[0].contains("waiting") && lines[1].contains("test"), "{answer}");
}
