-- The tables of the outbox. `outbox_` stands for the table prefix; the first schema of the search_path takes them.
--
-- Every column of outbox_messages but topic and payload has a default, so that
--   INSERT INTO outbox_messages (topic, payload) VALUES ('greetings', 'hello');
-- works from every client. Text is compared byte by byte (COLLATE "C") in every table alike: two collations for
-- one column would silently cost the index that finds the messages of a key.

-- Which migrations have run.
CREATE TABLE outbox_schema (
    version    bigint      PRIMARY KEY,
    name       text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Places. No cache: a later transaction must never get an earlier place.
CREATE SEQUENCE outbox_places AS bigint CACHE 1;

-- Fresh messages: only inserted and deleted.
-- xid is the transaction that wrote the row; it is assigned before the place is taken, so that a place which is
-- not visible yet belongs to a transaction that a snapshot knows as running. Never insert a seq or a xid of your own.
-- Ids are in the order of time (version 7, to the millisecond), as those are that the library gives: random ones would
-- touch another page of the history's index for every message, and that index is more than the server keeps in memory.
CREATE TABLE outbox_messages (
    seq             bigint      NOT NULL DEFAULT
        (CASE WHEN pg_current_xact_id() IS NOT NULL THEN nextval('outbox_places') END),
    xid             xid8        NOT NULL DEFAULT pg_current_xact_id(),
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    not_before      timestamptz,
    id              uuid        NOT NULL DEFAULT encode(set_bit(set_bit(
        overlay(uuid_send(gen_random_uuid())
            PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
        52, 1), 53, 1), 'hex')::uuid,
    partition_no    smallint    NOT NULL GENERATED ALWAYS AS
        ((CASE WHEN message_key IS NULL THEN seq ELSE hashtextextended(message_key, 0) END & 15)::smallint) STORED,
    topic           text        COLLATE "C" NOT NULL,
    message_type    text        COLLATE "C" NOT NULL DEFAULT '',
    message_key     text        COLLATE "C",
    content_type    text        COLLATE "C" NOT NULL DEFAULT 'application/octet-stream',
    headers         jsonb,
    idempotency_key text        COLLATE "C",
    payload         bytea       NOT NULL,
    CONSTRAINT outbox_messages_pkey PRIMARY KEY (seq)
);
-- What became visible since a snapshot, in the order of the transactions. An expression, so that nobody looks for a
-- place in here: while the statistics say that the table is next to empty, this index would look as good as the other.
CREATE INDEX outbox_messages_since ON outbox_messages (xid, (seq + 0));
ALTER SEQUENCE outbox_places OWNED BY outbox_messages.seq;

-- Messages set aside, each under the place it had. due_at is NULL behind an earlier message of the key, and for
-- what waits for a person.
CREATE TABLE outbox_deferred (
    seq             bigint      NOT NULL,
    created_at      timestamptz NOT NULL,
    not_before      timestamptz,
    due_at          timestamptz,
    set_aside_at    timestamptz NOT NULL,
    attempts        integer     NOT NULL DEFAULT 0,
    crashes         integer     NOT NULL DEFAULT 0,
    id              uuid        NOT NULL,
    partition_no    smallint    NOT NULL GENERATED ALWAYS AS
        ((CASE WHEN message_key IS NULL THEN seq ELSE hashtextextended(message_key, 0) END & 15)::smallint) STORED,
    in_doubt        boolean     NOT NULL DEFAULT false,
    state           text        COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'scheduled', 'parked', 'dead')),
    topic           text        COLLATE "C" NOT NULL,
    message_type    text        COLLATE "C" NOT NULL,
    message_key     text        COLLATE "C",
    content_type    text        COLLATE "C" NOT NULL,
    headers         jsonb,
    idempotency_key text        COLLATE "C",
    failures        jsonb       NOT NULL DEFAULT '[]',
    payload         bytea       NOT NULL,
    CONSTRAINT outbox_deferred_pkey PRIMARY KEY (seq)
);
-- What is due, per topic.
CREATE INDEX outbox_deferred_due ON outbox_deferred (topic, due_at, seq, partition_no) WHERE due_at IS NOT NULL;
-- What blocks a key, in order.
CREATE INDEX outbox_deferred_key ON outbox_deferred (topic, message_key, seq)
    WHERE message_key IS NOT NULL AND state IN ('waiting', 'parked');
-- The few messages at the front of a blocked key that have a time; the many behind them are not in it.
CREATE INDEX outbox_deferred_front ON outbox_deferred (topic, message_key, seq)
    WHERE message_key IS NOT NULL AND state = 'waiting' AND due_at IS NOT NULL;
CREATE INDEX outbox_deferred_id ON outbox_deferred (id);

-- Idempotency keys, kept for their retention, also after delivery.
CREATE TABLE outbox_idempotency (
    topic           text        COLLATE "C" NOT NULL,
    idempotency_key text        COLLATE "C" NOT NULL,
    message_id      uuid        NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT outbox_idempotency_pkey PRIMARY KEY (topic, idempotency_key)
);
CREATE INDEX outbox_idempotency_created ON outbox_idempotency (created_at);

-- Registers the idempotency key of every insert, by whatever client, and leaves out a row whose key is known.
-- A dead letter that a person redrives comes back through here and is let in.
CREATE FUNCTION outbox_once() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO outbox_idempotency (topic, idempotency_key, message_id)
    VALUES (NEW.topic, NEW.idempotency_key, NEW.id)
    ON CONFLICT DO NOTHING;
    IF FOUND OR EXISTS (SELECT FROM outbox_deferred AS dead WHERE dead.id = NEW.id AND dead.state = 'dead') THEN
        RETURN NEW;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER outbox_messages_once BEFORE INSERT ON outbox_messages
    FOR EACH ROW WHEN (NEW.idempotency_key IS NOT NULL) EXECUTE FUNCTION outbox_once();

-- Enqueues one message whose payload is JSON; for clients that would have to write the bytes of a bytea literal.
CREATE FUNCTION outbox_send(topic text, message_key text, payload jsonb) RETURNS void
    LANGUAGE sql SET search_path FROM CURRENT AS $$
    INSERT INTO outbox_messages (topic, message_key, content_type, payload)
    VALUES ($1, $2, 'application/json', convert_to($3::text, 'UTF8'))
$$;

-- What consumers have handled.
CREATE TABLE outbox_inbox (
    consumer   text        COLLATE "C" NOT NULL,
    message_id uuid        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT outbox_inbox_pkey PRIMARY KEY (consumer, message_id)
);
CREATE INDEX outbox_inbox_created ON outbox_inbox (created_at);

-- What has ended, where the history is on; without payloads. Each of its indexes grows at its right end only. A row that
-- joins meets no other with its place and its time, so nothing has to be looked up before; a message that a person restored
-- after it had been delivered is there twice, as it was delivered.
CREATE TABLE outbox_history (
    seq          bigint      NOT NULL,
    created_at   timestamptz NOT NULL,
    ended_at     timestamptz NOT NULL,
    attempts     integer     NOT NULL,
    crashes      integer     NOT NULL,
    id           uuid        NOT NULL,
    in_doubt     boolean     NOT NULL,
    state        text        COLLATE "C" NOT NULL CHECK (state IN ('delivered', 'discarded')),
    topic        text        COLLATE "C" NOT NULL,
    message_type text        COLLATE "C" NOT NULL,
    message_key  text        COLLATE "C",
    failures     jsonb       NOT NULL,
    receipt      text,
    CONSTRAINT outbox_history_pkey PRIMARY KEY (ended_at, seq)
);
CREATE INDEX outbox_history_id ON outbox_history (id);
CREATE INDEX outbox_history_seq ON outbox_history (seq);

-- Running dispatchers. The epoch is the fencing token: no number comes back, also where a replica takes over that never
-- heard of the last sessions. So it is no sequence, but the time of the start in microseconds; sessions start one after
-- another. changes counts the acts of people that the session has to hear of.
CREATE TABLE outbox_sessions (
    epoch      bigint      DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint PRIMARY KEY,
    name       text        NOT NULL,
    instance   uuid        NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    fenced_at  timestamptz,
    changes    bigint      NOT NULL DEFAULT 0
);

-- Which session owns which slot; rows change only when a slot changes hands, under a lock of the whole table.
CREATE TABLE outbox_leases (
    slot  smallint PRIMARY KEY,
    epoch bigint
);
INSERT INTO outbox_leases (slot) SELECT generate_series(0, 15);

-- What is in flight: a row per open batch with its places (format 1). A page holds the places of a thousand messages.
-- The batch comes first in the key, so that a settlement never walks over the dead rows of the batches before.
CREATE TABLE outbox_journal (
    epoch    bigint   NOT NULL,
    batch_no bigint   NOT NULL,
    alone    boolean  NOT NULL,
    format   smallint NOT NULL DEFAULT 1,
    places   bigint[] NOT NULL,
    CONSTRAINT outbox_journal_pkey PRIMARY KEY (batch_no, epoch)
) WITH (toast_tuple_target = 8160);

-- What people did, and, of a message that left its place by it, what had happened to it until then.
CREATE TABLE outbox_acts (
    act        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id uuid        NOT NULL,
    what       text        NOT NULL,
    who        text        NOT NULL,
    why        text        NOT NULL,
    at         timestamptz NOT NULL,
    attempts   integer     NOT NULL,
    crashes    integer     NOT NULL,
    in_doubt   boolean     NOT NULL,
    failures   jsonb       NOT NULL
);
CREATE INDEX outbox_acts_message ON outbox_acts (message_id);
CREATE INDEX outbox_acts_at ON outbox_acts (at);

-- Every message the outbox knows, wherever it lies and without its payload: for people and for the administration.
CREATE VIEW outbox_overview AS
SELECT seq, id, topic, message_type, message_key, 'fresh'::text AS lies,
    CASE WHEN not_before > clock_timestamp() THEN 'scheduled' ELSE 'waiting' END AS state,
    0 AS attempts, 0 AS crashes, false AS in_doubt, '[]'::jsonb AS failures, NULL::text AS receipt, created_at,
    not_before AS due_at
FROM outbox_messages
UNION ALL
SELECT seq, id, topic, message_type, message_key, 'set aside',
    CASE WHEN state <> 'waiting' THEN state
        WHEN due_at IS NOT NULL AND (attempts > 0 OR crashes > 0 OR in_doubt) THEN 'retrying'
        ELSE 'behind' END,
    attempts, crashes, in_doubt, failures, NULL, created_at, due_at
FROM outbox_deferred
UNION ALL
SELECT seq, id, topic, message_type, message_key, 'ended', state, attempts, crashes, in_doubt, failures, receipt,
    created_at, NULL
FROM outbox_history;

INSERT INTO outbox_schema (version, name) VALUES (1, 'outbox');
