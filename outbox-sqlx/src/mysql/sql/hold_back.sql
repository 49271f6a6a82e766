-- Later messages of a key do not pass one that was just set aside: they lose their time. Each key is looked at once,
-- since entries that were deleted a moment ago are walked over as well.
-- Plan: the list, and a lookup by primary key each; then a range of the front index per key, which is short.
SELECT later.seq
FROM (
    SELECT d.blocked_topic AS topic, d.message_key, MIN(d.seq) AS first_seq
    FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS v
    STRAIGHT_JOIN outbox_deferred AS d FORCE INDEX (PRIMARY) ON d.seq = v.seq
    WHERE d.blocked_topic IS NOT NULL
    GROUP BY d.blocked_topic, d.message_key) AS moved
STRAIGHT_JOIN outbox_deferred AS later FORCE INDEX (outbox_deferred_front)
    ON later.front_topic = moved.topic AND later.message_key = moved.message_key AND later.seq > moved.first_seq
