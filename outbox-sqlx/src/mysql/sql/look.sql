-- What a claim of session ? needs to know before it reads rows.
-- Plan: a lookup by primary key, and the first entry of two indexes; the state is in neither, since MySQL reads an index
-- that has every column from its beginning where the table looks empty, over all that is dead there.
SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)),
    (SELECT s.changes FROM outbox_sessions AS s WHERE s.epoch = ?),
    (SELECT state FROM outbox_deferred FORCE INDEX (outbox_deferred_key)
     WHERE blocked_topic >= '' ORDER BY blocked_topic LIMIT 1) IS NOT NULL,
    (SELECT state FROM outbox_deferred FORCE INDEX (outbox_deferred_due)
     WHERE due_topic >= '' ORDER BY due_topic LIMIT 1) IS NOT NULL
