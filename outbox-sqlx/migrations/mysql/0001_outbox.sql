-- The tables of the outbox, for MySQL 8 and MariaDB from 10.6 on. `outbox_` stands for the table prefix; the current
-- database takes them.
--
-- Every column of outbox_messages but topic and payload has a default, so that
--   INSERT INTO outbox_messages (topic, payload) VALUES ('greetings', 'hello');
-- works from every client. Text is compared byte by byte, trailing spaces included, in every table alike; the two
-- servers have different names for that collation. Times are microseconds since 1970-01-01 UTC.
--
-- Each statement commits by itself here. So each can be run again, and the version is noted last: a migration that was
-- cut off starts anew.

-- Which migrations have run.
CREATE TABLE IF NOT EXISTS outbox_schema (
    version    BIGINT       NOT NULL PRIMARY KEY,
    name       VARCHAR(255) NOT NULL,
    applied_at BIGINT       NOT NULL DEFAULT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE /*!80017 utf8mb4_0900_bin */ /*M!100600 utf8mb4_nopad_bin */;

-- Fresh messages: only inserted and deleted. Never insert a seq of your own.
CREATE TABLE IF NOT EXISTS outbox_messages (
    seq             BIGINT       NOT NULL AUTO_INCREMENT,
    created_at      BIGINT       NOT NULL DEFAULT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))),
    not_before      BIGINT,
    id              BINARY(16)   NOT NULL DEFAULT (UNHEX(REPLACE(UUID(), '-', ''))),
    partition_no    TINYINT      GENERATED ALWAYS AS
        (IF(message_key IS NULL, CRC32(id), CRC32(message_key)) & 15) STORED,
    topic           VARCHAR(255) NOT NULL,
    message_type    VARCHAR(255) NOT NULL DEFAULT '',
    message_key     VARCHAR(255),
    content_type    VARCHAR(255) NOT NULL DEFAULT 'application/octet-stream',
    headers         LONGTEXT,
    idempotency_key VARCHAR(255),
    payload         LONGBLOB     NOT NULL,
    PRIMARY KEY (seq)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE /*!80017 utf8mb4_0900_bin */ /*M!100600 utf8mb4_nopad_bin */;

-- Messages set aside, each under the place it had. due_at is NULL behind an earlier message of the key, and for
-- what waits for a person. The three topics at the end stand for partial indexes, which these servers do not have:
-- each is NULL where the row is none of its index's business, and NULLs are never walked over.
CREATE TABLE IF NOT EXISTS outbox_deferred (
    seq             BIGINT       NOT NULL,
    created_at      BIGINT       NOT NULL,
    not_before      BIGINT,
    due_at          BIGINT,
    set_aside_at    BIGINT       NOT NULL,
    attempts        INT          NOT NULL DEFAULT 0,
    crashes         INT          NOT NULL DEFAULT 0,
    id              BINARY(16)   NOT NULL,
    partition_no    TINYINT      GENERATED ALWAYS AS
        (IF(message_key IS NULL, CRC32(id), CRC32(message_key)) & 15) STORED,
    in_doubt        BOOLEAN      NOT NULL DEFAULT FALSE,
    state           VARCHAR(16)  NOT NULL CHECK (state IN ('waiting', 'scheduled', 'parked', 'dead')),
    topic           VARCHAR(255) NOT NULL,
    message_type    VARCHAR(255) NOT NULL,
    message_key     VARCHAR(255),
    content_type    VARCHAR(255) NOT NULL,
    headers         LONGTEXT,
    idempotency_key VARCHAR(255),
    failures        LONGTEXT     NOT NULL,
    payload         LONGBLOB     NOT NULL,
    due_topic       VARCHAR(255) GENERATED ALWAYS AS (IF(due_at IS NULL, NULL, topic)) STORED,
    blocked_topic   VARCHAR(255) GENERATED ALWAYS AS
        (IF(message_key IS NULL OR state NOT IN ('waiting', 'parked'), NULL, topic)) STORED,
    front_topic     VARCHAR(255) GENERATED ALWAYS AS
        (IF(message_key IS NULL OR state <> 'waiting' OR due_at IS NULL, NULL, topic)) STORED,
    PRIMARY KEY (seq),
    -- What is due, per topic.
    KEY outbox_deferred_due (due_topic, due_at, seq, partition_no),
    -- What blocks a key, in order.
    KEY outbox_deferred_key (blocked_topic, message_key, seq),
    -- The few messages at the front of a blocked key that have a time; the many behind them are not in it.
    KEY outbox_deferred_front (front_topic, message_key, seq),
    KEY outbox_deferred_id (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE /*!80017 utf8mb4_0900_bin */ /*M!100600 utf8mb4_nopad_bin */;

-- Idempotency keys, kept for their retention, also after delivery.
CREATE TABLE IF NOT EXISTS outbox_idempotency (
    topic           VARCHAR(255) NOT NULL,
    idempotency_key VARCHAR(255) NOT NULL,
    message_id      BINARY(16)   NOT NULL,
    created_at      BIGINT       NOT NULL DEFAULT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))),
    PRIMARY KEY (topic, idempotency_key),
    KEY outbox_idempotency_created (created_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE /*!80017 utf8mb4_0900_bin */ /*M!100600 utf8mb4_nopad_bin */;

-- Registers the idempotency key of every insert, by whatever client. Where it is known, the insert fails with the error
-- of a duplicate (1062) and the transaction lives on; INSERT IGNORE fails alike. It looks nothing up: at the servers'
-- own isolation (REPEATABLE READ) that would lock the keys around it, and producers would wait for each other.
DROP TRIGGER IF EXISTS outbox_messages_once;
CREATE TRIGGER outbox_messages_once BEFORE INSERT ON outbox_messages FOR EACH ROW
    INSERT INTO outbox_idempotency (topic, idempotency_key, message_id)
    SELECT NEW.topic, NEW.idempotency_key, NEW.id FROM DUAL WHERE NEW.idempotency_key IS NOT NULL;

-- What consumers have handled.
CREATE TABLE IF NOT EXISTS outbox_inbox (
    consumer   VARCHAR(255) NOT NULL,
    message_id BINARY(16)   NOT NULL,
    created_at BIGINT       NOT NULL DEFAULT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))),
    PRIMARY KEY (consumer, message_id),
    KEY outbox_inbox_created (created_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE /*!80017 utf8mb4_0900_bin */ /*M!100600 utf8mb4_nopad_bin */;

-- What has ended, where the history is on; without payloads.
CREATE TABLE IF NOT EXISTS outbox_history (
    seq          BIGINT       NOT NULL,
    created_at   BIGINT       NOT NULL,
    ended_at     BIGINT       NOT NULL,
    attempts     INT          NOT NULL,
    crashes      INT          NOT NULL,
    id           BINARY(16)   NOT NULL,
    in_doubt     BOOLEAN      NOT NULL,
    state        VARCHAR(16)  NOT NULL CHECK (state IN ('delivered', 'discarded')),
    topic        VARCHAR(255) NOT NULL,
    message_type VARCHAR(255) NOT NULL,
    message_key  VARCHAR(255),
    failures     LONGTEXT     NOT NULL,
    receipt      LONGTEXT,
    PRIMARY KEY (seq),
    KEY outbox_history_id (id),
    KEY outbox_history_ended (ended_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE /*!80017 utf8mb4_0900_bin */ /*M!100600 utf8mb4_nopad_bin */;

-- Running dispatchers. The epoch is the fencing token: no number comes back, also where a replica takes over that never
-- heard of the last sessions. So it is not left to AUTO_INCREMENT, but the time of the start in microseconds; sessions
-- start one after another. changes counts the acts of people that the session has to hear of.
CREATE TABLE IF NOT EXISTS outbox_sessions (
    epoch      BIGINT     NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name       LONGTEXT   NOT NULL,
    instance   BINARY(16) NOT NULL,
    started_at BIGINT     NOT NULL DEFAULT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))),
    expires_at BIGINT     NOT NULL,
    fenced_at  BIGINT,
    changes    BIGINT     NOT NULL DEFAULT 0
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE /*!80017 utf8mb4_0900_bin */ /*M!100600 utf8mb4_nopad_bin */;

-- Which session owns which slot; rows change only when a slot changes hands, under locks of all sixteen.
CREATE TABLE IF NOT EXISTS outbox_leases (
    slot  TINYINT NOT NULL PRIMARY KEY,
    epoch BIGINT
) ENGINE = InnoDB;
INSERT IGNORE INTO outbox_leases (slot)
VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15);

-- What is in flight: a row per open batch with its places, a JSON array.
CREATE TABLE IF NOT EXISTS outbox_journal (
    epoch    BIGINT   NOT NULL,
    batch_no BIGINT   NOT NULL,
    alone    BOOLEAN  NOT NULL,
    places   LONGTEXT NOT NULL,
    PRIMARY KEY (epoch, batch_no)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE /*!80017 utf8mb4_0900_bin */ /*M!100600 utf8mb4_nopad_bin */;

-- What people did, and, of a message that left its place by it, what had happened to it until then.
CREATE TABLE IF NOT EXISTS outbox_acts (
    act        BIGINT        NOT NULL AUTO_INCREMENT PRIMARY KEY,
    message_id BINARY(16)    NOT NULL,
    what       VARCHAR(16)   NOT NULL,
    who        VARCHAR(255)  NOT NULL,
    why        VARCHAR(2000) NOT NULL,
    at         BIGINT        NOT NULL,
    attempts   INT           NOT NULL,
    crashes    INT           NOT NULL,
    in_doubt   BOOLEAN       NOT NULL,
    failures   LONGTEXT      NOT NULL,
    KEY outbox_acts_message (message_id),
    KEY outbox_acts_at (at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE /*!80017 utf8mb4_0900_bin */ /*M!100600 utf8mb4_nopad_bin */;

-- Every message the outbox knows, wherever it lies and without its payload: for people. The id is written as text. What
-- is no column is converted, or MySQL would give it the collation of whoever asks, and refuse to compare it.
CREATE OR REPLACE SQL SECURITY INVOKER VIEW outbox_overview AS
SELECT seq,
    CONVERT(LOWER(CONCAT_WS('-', SUBSTR(HEX(id), 1, 8), SUBSTR(HEX(id), 9, 4), SUBSTR(HEX(id), 13, 4),
        SUBSTR(HEX(id), 17, 4), SUBSTR(HEX(id), 21))) USING ascii) AS id,
    topic, message_type, message_key, CONVERT('fresh' USING ascii) AS lies,
    IF(not_before > TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)), 'scheduled', 'waiting') AS state,
    0 AS attempts, 0 AS crashes, FALSE AS in_doubt, '[]' AS failures, NULL AS receipt, created_at, not_before AS due_at
FROM outbox_messages
UNION ALL
SELECT seq,
    CONVERT(LOWER(CONCAT_WS('-', SUBSTR(HEX(id), 1, 8), SUBSTR(HEX(id), 9, 4), SUBSTR(HEX(id), 13, 4),
        SUBSTR(HEX(id), 17, 4), SUBSTR(HEX(id), 21))) USING ascii),
    topic, message_type, message_key, CONVERT('set aside' USING ascii),
    CASE WHEN state <> 'waiting' THEN state
        WHEN due_at IS NOT NULL AND (attempts > 0 OR crashes > 0 OR in_doubt) THEN 'retrying'
        ELSE 'behind' END,
    attempts, crashes, in_doubt, failures, NULL, created_at, due_at
FROM outbox_deferred
UNION ALL
SELECT seq,
    CONVERT(LOWER(CONCAT_WS('-', SUBSTR(HEX(id), 1, 8), SUBSTR(HEX(id), 9, 4), SUBSTR(HEX(id), 13, 4),
        SUBSTR(HEX(id), 17, 4), SUBSTR(HEX(id), 21))) USING ascii),
    topic, message_type, message_key, CONVERT('ended' USING ascii), state,
    attempts, crashes, in_doubt, failures, receipt, created_at, NULL
FROM outbox_history;

INSERT IGNORE INTO outbox_schema (version, name) VALUES (1, 'outbox');
