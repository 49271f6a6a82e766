-- What a message costs that joins the history. Each of its three indexes grows at its right end only.

-- Ids in the order of time (version 7, to the millisecond), as those are that the library gives: random ones would touch
-- another page of the index for every message, and the whole index is more than the server keeps in memory.
ALTER TABLE outbox_messages ALTER COLUMN id SET DEFAULT encode(set_bit(set_bit(
    overlay(uuid_send(gen_random_uuid())
        PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
    52, 1), 53, 1), 'hex')::uuid;

-- A row that joins meets no other with its place and its time: nothing has to be looked up before. A message that a person
-- restored after it had been delivered is there twice, as it was delivered.
ALTER TABLE outbox_history DROP CONSTRAINT outbox_history_pkey;
ALTER TABLE outbox_history ADD CONSTRAINT outbox_history_pkey PRIMARY KEY (ended_at, seq);
DROP INDEX outbox_history_ended;
CREATE INDEX outbox_history_seq ON outbox_history (seq);

INSERT INTO outbox_schema (version, name) VALUES (2, 'history');
