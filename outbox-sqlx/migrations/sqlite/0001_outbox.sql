-- The tables of the outbox. `outbox_` stands for the table prefix.
--
-- Times are microseconds since 1970-01-01 UTC; ids are UUIDs as text. Both have defaults, so that
--   INSERT INTO outbox_messages (topic, payload) VALUES ('greetings', 'hello');
-- works from every client. The payload comes last in a row: what stands before it is read without it.

-- Which migrations have run.
CREATE TABLE outbox_schema (
    version    INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL,
    applied_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000)
);

-- Fresh messages: only inserted and deleted. AUTOINCREMENT never gives a place twice; together with SQLite's one
-- writer at a time, rows become visible in the order of their places. Never insert a place of your own.
CREATE TABLE outbox_messages (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT    NOT NULL DEFAULT (lower(
        hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-'
        || substr('89AB', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))),
    topic           TEXT    NOT NULL,
    message_type    TEXT    NOT NULL DEFAULT '',
    message_key     TEXT,
    content_type    TEXT    NOT NULL DEFAULT 'application/octet-stream',
    headers         TEXT,
    idempotency_key TEXT,
    not_before      INTEGER,
    created_at      INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000),
    payload         BLOB    NOT NULL
);

-- Messages set aside, each under the place it had. due_at is NULL behind an earlier message of the key, and for
-- what waits for a person.
CREATE TABLE outbox_deferred (
    seq             INTEGER PRIMARY KEY,
    id              TEXT    NOT NULL,
    topic           TEXT    NOT NULL,
    message_type    TEXT    NOT NULL,
    message_key     TEXT,
    content_type    TEXT    NOT NULL,
    headers         TEXT,
    idempotency_key TEXT,
    not_before      INTEGER,
    created_at      INTEGER NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('waiting', 'scheduled', 'parked', 'dead')),
    due_at          INTEGER,
    attempts        INTEGER NOT NULL DEFAULT 0,
    crashes         INTEGER NOT NULL DEFAULT 0,
    in_doubt        INTEGER NOT NULL DEFAULT 0,
    failures        TEXT    NOT NULL DEFAULT '[]',
    set_aside_at    INTEGER NOT NULL,
    payload         BLOB    NOT NULL
);
-- What is due, per topic.
CREATE INDEX outbox_deferred_due ON outbox_deferred (topic, due_at, seq) WHERE due_at IS NOT NULL;
-- What blocks a key, in order.
CREATE INDEX outbox_deferred_key ON outbox_deferred (topic, message_key, seq)
    WHERE message_key IS NOT NULL AND state IN ('waiting', 'parked');
-- The few messages at the front of a blocked key that have a time; the many behind them are not in it.
CREATE INDEX outbox_deferred_front ON outbox_deferred (topic, message_key, seq)
    WHERE message_key IS NOT NULL AND state = 'waiting' AND due_at IS NOT NULL;
CREATE INDEX outbox_deferred_id ON outbox_deferred (id);

-- Idempotency keys, kept for their retention, also after delivery.
CREATE TABLE outbox_idempotency (
    topic           TEXT    NOT NULL,
    idempotency_key TEXT    NOT NULL,
    message_id      TEXT    NOT NULL,
    created_at      INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000),
    PRIMARY KEY (topic, idempotency_key)
) WITHOUT ROWID;
CREATE INDEX outbox_idempotency_created ON outbox_idempotency (created_at);

-- Registers the idempotency key of every insert, by whatever client, and leaves out a row whose key is known.
-- A dead letter that a person redrives comes back through here and is let in.
CREATE TRIGGER outbox_messages_once BEFORE INSERT ON outbox_messages WHEN NEW.idempotency_key IS NOT NULL
BEGIN
    SELECT RAISE(IGNORE)
    FROM outbox_idempotency AS known
    WHERE known.topic = NEW.topic AND known.idempotency_key = NEW.idempotency_key
        AND NOT EXISTS (SELECT 1 FROM outbox_deferred AS dead WHERE dead.id = NEW.id AND dead.state = 'dead');
    INSERT OR IGNORE INTO outbox_idempotency (topic, idempotency_key, message_id)
    VALUES (NEW.topic, NEW.idempotency_key, NEW.id);
END;

-- What consumers have handled.
CREATE TABLE outbox_inbox (
    consumer   TEXT    NOT NULL,
    message_id TEXT    NOT NULL,
    created_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000),
    PRIMARY KEY (consumer, message_id)
) WITHOUT ROWID;
CREATE INDEX outbox_inbox_created ON outbox_inbox (created_at);

-- What has ended, where the history is on; without payloads.
CREATE TABLE outbox_history (
    seq          INTEGER PRIMARY KEY,
    id           TEXT    NOT NULL,
    topic        TEXT    NOT NULL,
    message_type TEXT    NOT NULL,
    message_key  TEXT,
    state        TEXT    NOT NULL CHECK (state IN ('delivered', 'discarded')),
    attempts     INTEGER NOT NULL,
    crashes      INTEGER NOT NULL,
    in_doubt     INTEGER NOT NULL,
    failures     TEXT    NOT NULL,
    receipt      TEXT,
    created_at   INTEGER NOT NULL,
    ended_at     INTEGER NOT NULL
);
CREATE INDEX outbox_history_id ON outbox_history (id);
CREATE INDEX outbox_history_ended ON outbox_history (ended_at);

-- Running dispatchers. The epoch is the fencing token: AUTOINCREMENT, so that no number comes back.
CREATE TABLE outbox_sessions (
    epoch      INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL,
    instance   TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    fenced_at  INTEGER
);

-- What is in flight: a row per open batch. places is a JSON array of places (format 1).
CREATE TABLE outbox_journal (
    epoch    INTEGER NOT NULL,
    batch_no INTEGER NOT NULL,
    alone    INTEGER NOT NULL,
    format   INTEGER NOT NULL DEFAULT 1,
    places   TEXT    NOT NULL,
    PRIMARY KEY (epoch, batch_no)
) WITHOUT ROWID;

-- One row: the epoch that owns the outbox, and how many acts of a person there were.
CREATE TABLE outbox_state (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    owner   INTEGER,
    changes INTEGER NOT NULL DEFAULT 0
);
INSERT INTO outbox_state (one) VALUES (1);

-- What people did, and, of a message that left its place by it, what had happened to it until then.
CREATE TABLE outbox_acts (
    act        INTEGER PRIMARY KEY,
    message_id TEXT    NOT NULL,
    what       TEXT    NOT NULL,
    who        TEXT    NOT NULL,
    why        TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    crashes    INTEGER NOT NULL,
    in_doubt   INTEGER NOT NULL,
    failures   TEXT    NOT NULL
);
CREATE INDEX outbox_acts_message ON outbox_acts (message_id);
CREATE INDEX outbox_acts_at ON outbox_acts (at);

-- Every message the outbox knows, wherever it lies and without its payload: for people and for the administration.
-- The casts give a column the same affinity in each part; only then can SQLite read a page in order of place.
CREATE VIEW outbox_overview AS
SELECT seq, id, topic, message_type, message_key, 'fresh' AS lies,
    CAST(CASE WHEN not_before > CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000
        THEN 'scheduled' ELSE 'waiting' END AS TEXT) AS state,
    CAST(0 AS INTEGER) AS attempts, CAST(0 AS INTEGER) AS crashes, CAST(0 AS INTEGER) AS in_doubt,
    CAST('[]' AS TEXT) AS failures, CAST(NULL AS TEXT) AS receipt, created_at, not_before AS due_at
FROM outbox_messages
UNION ALL
SELECT seq, id, topic, message_type, message_key, 'set aside',
    CAST(CASE WHEN state <> 'waiting' THEN state
        WHEN due_at IS NOT NULL AND (attempts > 0 OR crashes > 0 OR in_doubt) THEN 'retrying'
        ELSE 'behind' END AS TEXT),
    attempts, crashes, in_doubt, failures, CAST(NULL AS TEXT), created_at, due_at
FROM outbox_deferred
UNION ALL
SELECT seq, id, topic, message_type, message_key, 'ended', state, attempts, crashes, in_doubt, failures, receipt,
    created_at, CAST(NULL AS INTEGER)
FROM outbox_history;

INSERT INTO outbox_schema (version, name) VALUES (1, 'outbox');
