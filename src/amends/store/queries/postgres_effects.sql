-- The barrier of transactional steps on PostgreSQL. All of it runs in the step's own transaction, at
-- whatever isolation level that has. The row is made or locked first, and read only then; who waits
-- for it does so for lock_timeout at most.
--
-- These statements go through several drivers: parameters are texts, whole numbers and booleans, and
-- each says which.

-- How long this transaction may wait for a lock, and how long its client may be silent: the server
-- ends the session of one that was frozen. What is acknowledged is on disk, whatever the session says.
-- The name tells others how long it may be silent (see `free`), for as long as the transaction lasts.
-- name: limit
SELECT set_config('lock_timeout', CAST($1 AS text), true),
    set_config('idle_in_transaction_session_timeout', CAST($2 AS text), true),
    set_config('application_name', 'amends step, ' || CAST($2 AS text), true),
    CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END,
    CAST(extract(epoch FROM clock_timestamp()) AS double precision)

-- An action makes the rows of the rounds before its own too: nothing of them can come any more, and
-- one that is in the middle of its transaction is waited for. In the order of rounds, as locks are taken.
-- name: make
INSERT INTO amends.inbox (ns, saga, address, round, at)
SELECT CAST($1 AS text), CAST(CAST($2 AS text) AS uuid), CAST($3 AS text), round,
    extract(epoch FROM clock_timestamp())
FROM generate_series(CAST($4 AS integer), CAST($5 AS integer)) AS round
ON CONFLICT DO NOTHING
RETURNING round

-- The same at once for the first round of several steps, which is nearly all there is, and what `limit` does before it:
-- gives, for each, whether its row was made, whether nothing else is known of its step, so that there is nothing to
-- read, the server's time, and the number of this transaction. (EXISTS would be answered from a hash of all the table.)
-- name: make_first
WITH limits AS MATERIALIZED (
    SELECT set_config('lock_timeout', CAST($2 AS text), true),
        set_config('idle_in_transaction_session_timeout', CAST($3 AS text), true),
        set_config('application_name', 'amends step, ' || CAST($3 AS text), true),
        CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END
), wanted AS MATERIALIZED (
    SELECT place, ns, saga, address
    FROM limits CROSS JOIN jsonb_to_recordset(CAST(CAST($1 AS text) AS jsonb))
        AS w (place integer, ns text, saga uuid, address text)
), made AS (
    INSERT INTO amends.inbox (ns, saga, address, round, at)
    SELECT ns, saga, address, 1, extract(epoch FROM clock_timestamp()) FROM wanted
    ORDER BY saga, address, ns
    ON CONFLICT DO NOTHING
    RETURNING ns, saga, address
)
SELECT w.place, made.saga IS NOT NULL, (
    SELECT 1 FROM amends.inbox AS i WHERE i.saga = w.saga AND i.address = w.address AND i.ns = w.ns LIMIT 1
) IS NULL, CAST(extract(epoch FROM clock_timestamp()) AS double precision), CAST(pg_current_xact_id() AS text)
FROM wanted AS w LEFT JOIN made USING (ns, saga, address)

-- Of one that was made so, in the transaction that made it; nothing where that has ended.
-- name: keep_new
UPDATE amends.inbox SET action = CAST($4 AS text), result = CAST($5 AS text), reason = CAST($6 AS text),
    command = CAST($7 AS text), at = extract(epoch FROM clock_timestamp())
WHERE saga = CAST(CAST($2 AS text) AS uuid) AND address = CAST($3 AS text) AND ns = CAST($1 AS text)
    AND round = 1 AND action IS NULL AND CAST(pg_current_xact_id_if_assigned() AS text) = CAST($8 AS text)
RETURNING 1

-- name: keep_first
UPDATE amends.inbox AS i SET action = w.action, result = w.result, reason = w.reason, command = w.command,
    at = extract(epoch FROM clock_timestamp())
FROM jsonb_to_recordset(CAST(CAST($1 AS text) AS jsonb))
    AS w (ns text, saga uuid, address text, action text, result text, reason text, command text)
WHERE i.saga = w.saga AND i.address = w.address AND i.ns = w.ns AND i.round = 1 AND i.action IS NULL
    AND CAST(pg_current_xact_id_if_assigned() AS text) = CAST($2 AS text)
RETURNING 1

-- name: clear_first
DELETE FROM amends.inbox AS i
USING jsonb_to_recordset(CAST(CAST($1 AS text) AS jsonb)) AS w (ns text, saga uuid, address text)
WHERE i.saga = w.saga AND i.address = w.address AND i.ns = w.ns AND i.round = 1 AND i.action IS NULL

-- name: hold
SELECT round, action, compensated, missing, result, reason, command FROM amends.inbox
WHERE saga = CAST(CAST($2 AS text) AS uuid) AND address = CAST($3 AS text) AND ns = CAST($1 AS text)
ORDER BY round FOR UPDATE

-- name: keep
UPDATE amends.inbox SET action = CAST($5 AS text), compensated = CAST($6 AS boolean), missing = CAST($7 AS boolean),
    result = CAST($8 AS text), reason = CAST($9 AS text), command = CAST($10 AS text),
    at = extract(epoch FROM clock_timestamp())
WHERE saga = CAST(CAST($2 AS text) AS uuid) AND address = CAST($3 AS text) AND ns = CAST($1 AS text)
    AND round = CAST($4 AS integer)

-- name: bury
UPDATE amends.inbox SET action = 'tombstone'
WHERE saga = CAST(CAST($2 AS text) AS uuid) AND address = CAST($3 AS text) AND ns = CAST($1 AS text)
    AND round < CAST($4 AS integer) AND action IS NULL

-- What a step left that ended its transaction itself.
-- name: clear
DELETE FROM amends.inbox
WHERE saga = CAST(CAST($2 AS text) AS uuid) AND address = CAST($3 AS text) AND ns = CAST($1 AS text)
    AND action IS NULL

-- A client that was frozen after it had asked for a statement's plan and before it ran it is no idle one to
-- the server, which waits for it for ever, with all its locks: whoever needs them ends its session.
-- name: free
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND starts_with(application_name, 'amends step, ')
    AND state = 'active' AND wait_event = 'ClientRead'
    AND state_change + CAST(substring(application_name FROM '[0-9]+') AS integer) * interval '1 millisecond'
        < clock_timestamp()

-- What was left of sagas that are about to be forgotten themselves, of each all or nothing; gives those
-- that have a row which is younger than so many seconds.
-- name: forget
WITH kept AS (
    SELECT DISTINCT saga FROM amends.inbox
    WHERE saga = ANY (CAST(CAST($2 AS text) AS uuid[])) AND ns = CAST($1 AS text)
        AND at >= extract(epoch FROM clock_timestamp()) - CAST($3 AS integer)
), gone AS (
    DELETE FROM amends.inbox
    WHERE saga = ANY (CAST(CAST($2 AS text) AS uuid[])) AND ns = CAST($1 AS text)
        AND saga NOT IN (SELECT saga FROM kept)
)
SELECT CAST(saga AS text) FROM kept

-- Of the catalog's rows, as the store's own.
-- name: schema_there
SELECT EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'amends' AND c.relname = 'inbox_version')

-- name: schema
SELECT version, floor FROM amends.inbox_version

-- The store's own: both make the schema that they share.
-- name: schema_lock
SELECT 1 FROM pg_advisory_xact_lock(7019, 4227)

-- name: wait_for_schema
SELECT set_config('lock_timeout', '0', true)

-- What follows is the services' own. These statements have the same names, parameters and results as those of
-- sqlite_effects.sql; lists are JSON.

-- Sagas that have ended; nobody says so twice, but an operator may open one again.
-- name: ended
INSERT INTO amends.inbox_ended (ns, saga, at)
SELECT CAST($1 AS text), CAST(saga AS uuid), extract(epoch FROM clock_timestamp())
FROM jsonb_array_elements_text(CAST(CAST($2 AS text) AS jsonb)) AS saga
ORDER BY 2
ON CONFLICT (saga, ns) DO UPDATE SET at = excluded.at
RETURNING 1

-- Forget some of the sagas that ended so many seconds ago, of each all or nothing: one that something has come of
-- since is put off. A row that somebody has in hand is waited for, and is young by then. Gives how many were looked
-- at, and how many rows are gone.
-- name: clean_inbox
WITH due AS (
    SELECT ns, saga FROM amends.inbox_ended
    WHERE at < extract(epoch FROM clock_timestamp()) - CAST($1 AS double precision)
    ORDER BY at LIMIT CAST($2 AS integer) FOR UPDATE SKIP LOCKED
), young AS (
    SELECT DISTINCT i.ns, i.saga FROM amends.inbox AS i JOIN due ON i.saga = due.saga AND i.ns = due.ns
    WHERE i.at >= extract(epoch FROM clock_timestamp()) - CAST($1 AS double precision)
), put_off AS (
    UPDATE amends.inbox_ended AS e SET at = extract(epoch FROM clock_timestamp())
    FROM young WHERE e.saga = young.saga AND e.ns = young.ns
), gone AS (
    DELETE FROM amends.inbox AS i USING due
    WHERE i.saga = due.saga AND i.ns = due.ns AND (due.ns, due.saga) NOT IN (SELECT ns, saga FROM young)
        AND i.at < extract(epoch FROM clock_timestamp()) - CAST($1 AS double precision)
    RETURNING 1
), hops AS (
    DELETE FROM amends.hop AS h USING due
    WHERE h.saga = due.saga AND h.home = due.ns AND (due.ns, due.saga) NOT IN (SELECT ns, saga FROM young)
), marks AS (
    DELETE FROM amends.mark AS m USING due
    WHERE m.saga = due.saga AND NOT m.at_home AND (due.ns, due.saga) NOT IN (SELECT ns, saga FROM young)
), told AS (
    DELETE FROM amends.inbox_ended AS e USING due
    WHERE e.saga = due.saga AND e.ns = due.ns AND (due.ns, due.saga) NOT IN (SELECT ns, saga FROM young)
)
SELECT (SELECT count(*) FROM due), (SELECT count(*) FROM gone)

-- name: clean_events
WITH gone AS (
    DELETE FROM amends.inbox_event WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM amends.inbox_event
        WHERE at < extract(epoch FROM clock_timestamp()) - CAST($1 AS double precision)
        ORDER BY at LIMIT CAST($2 AS integer) FOR UPDATE SKIP LOCKED
    )) RETURNING 1
)
SELECT count(*), count(*) FROM gone

-- name: clean_homes
WITH gone AS (
    DELETE FROM amends.home WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM amends.home
        WHERE stand = 'ended' AND service = CAST($3 AS text)
            AND at < extract(epoch FROM clock_timestamp()) - CAST($1 AS double precision)
        LIMIT CAST($2 AS integer) FOR UPDATE SKIP LOCKED
    )) RETURNING saga
), marks AS (
    DELETE FROM amends.mark AS m USING gone WHERE m.saga = gone.saga AND m.at_home
)
SELECT count(*), count(*) FROM gone

-- name: clean_outbox
WITH gone AS (
    DELETE FROM amends.outbox WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM amends.outbox
        WHERE service = CAST($3 AS text)
            AND settled < extract(epoch FROM clock_timestamp()) - CAST($1 AS double precision)
        ORDER BY settled LIMIT CAST($2 AS integer) FOR UPDATE SKIP LOCKED
    )) RETURNING 1
)
SELECT count(*), count(*) FROM gone

-- name: clean_deaths
WITH gone AS (
    DELETE FROM amends.inbox_death WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM amends.inbox_death
        WHERE at < extract(epoch FROM clock_timestamp()) - CAST($1 AS double precision)
        LIMIT CAST($2 AS integer) FOR UPDATE SKIP LOCKED
    )) RETURNING 1
)
SELECT count(*), count(*) FROM gone

-- Who is at something that may have taken its process down, and their last sign of life.
-- name: look_carefully
SELECT deaths, holder, at, parked FROM amends.inbox_death WHERE what = CAST($1 AS text)

-- It is about to be done; nothing, where it is not as it was looked at any more.
-- name: take_carefully
INSERT INTO amends.inbox_death (what, holder, deaths, at)
VALUES (CAST($1 AS text), CAST($2 AS text), CAST($3 AS integer), extract(epoch FROM clock_timestamp()))
ON CONFLICT (what) DO UPDATE SET holder = excluded.holder, deaths = excluded.deaths, at = excluded.at
WHERE amends.inbox_death.holder = CAST($4 AS text) AND amends.inbox_death.at = CAST($5 AS double precision)
RETURNING what

-- The same of what nobody knows to have come before: names of 32 characters, each followed by who does it. Gives those
-- that were not there. The first death is none: others were in hand beside.
-- name: begin_first
INSERT INTO amends.inbox_death (what, holder, deaths, at)
SELECT substr(note, 1, 32), substr(note, 33), -1, extract(epoch FROM clock_timestamp())
FROM jsonb_array_elements_text(CAST(CAST($1 AS text) AS jsonb)) AS note
ORDER BY 1
ON CONFLICT (what) DO NOTHING
RETURNING what || holder

-- name: sign_carefully
UPDATE amends.inbox_death SET at = extract(epoch FROM clock_timestamp())
WHERE (what, holder) IN (
    SELECT substr(note, 1, 32), substr(note, 33) FROM jsonb_array_elements_text(CAST(CAST($1 AS text) AS jsonb)) AS note
)
RETURNING what

-- name: end_carefully
DELETE FROM amends.inbox_death
WHERE (what, holder) IN (
    SELECT substr(note, 1, 32), substr(note, 33) FROM jsonb_array_elements_text(CAST(CAST($1 AS text) AS jsonb)) AS note
)
RETURNING what || holder

-- Nobody is at it any more, and it has not come to its end.
-- name: leave_carefully
UPDATE amends.inbox_death SET holder = ''
WHERE (what, holder) IN (
    SELECT substr(note, 1, 32), substr(note, 33) FROM jsonb_array_elements_text(CAST(CAST($1 AS text) AS jsonb)) AS note
)
RETURNING what

-- It is poison, and nobody is at it; whoever asks for it from now on, as a person who tries again does, begins anew.
-- name: park_carefully
UPDATE amends.inbox_death SET deaths = 0, holder = '', at = parking.now, parked = parking.now
FROM (SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision) AS now) AS parking
WHERE what = CAST($1 AS text) AND holder = CAST($2 AS text)
RETURNING what

-- Whoever comes second waits for the first, and finds it there.
-- name: event_arrives
INSERT INTO amends.inbox_event (subscriber, source, id, at)
VALUES (CAST($1 AS text), CAST($2 AS text), CAST($3 AS text), extract(epoch FROM clock_timestamp()))
ON CONFLICT DO NOTHING
RETURNING 1

-- name: event_clear
DELETE FROM amends.inbox_event
WHERE subscriber = CAST($1 AS text) AND source = CAST($2 AS text) AND id = CAST($3 AS text)
RETURNING 1

-- name: publish
INSERT INTO amends.outbox (service, id, type, key, data, attributes, destination, at)
SELECT service, id, type, key, data, attributes, destination, extract(epoch FROM clock_timestamp())
FROM jsonb_to_recordset(CAST(CAST($1 AS text) AS jsonb))
    AS e (place integer, service text, id text, type text, key text, data text, attributes text, destination text)
ORDER BY place
RETURNING number, id

-- Events of these keys that are not settled, before a number.
-- name: earlier
SELECT key, number FROM amends.outbox
WHERE service = CAST($1 AS text) AND settled IS NULL AND number < CAST($3 AS bigint) AND key <> ''
    AND key IN (SELECT jsonb_array_elements_text(CAST(CAST($2 AS text) AS jsonb)))
ORDER BY number LIMIT 1000

-- Those of these events that are committed and not settled.
-- name: look
SELECT number, id, type, key, data, attributes, at, destination FROM amends.outbox
WHERE number IN (SELECT CAST(jsonb_array_elements_text(CAST(CAST($1 AS text) AS jsonb)) AS bigint))
    AND settled IS NULL
ORDER BY number

-- The sweep: what is older than a grace, and nobody is about to publish. Of a key, the first only. Index
-- outbox_open, and outbox_open_key for each candidate.
-- name: claim
UPDATE amends.outbox SET claimed = extract(epoch FROM clock_timestamp()) + CAST($3 AS double precision)
WHERE number IN (
    SELECT number FROM amends.outbox AS o
    WHERE service = CAST($1 AS text) AND settled IS NULL
        AND at < extract(epoch FROM clock_timestamp()) - CAST($2 AS double precision)
        AND claimed < extract(epoch FROM clock_timestamp())
        AND NOT EXISTS (
            SELECT 1 FROM amends.outbox AS e
            WHERE e.service = o.service AND e.key = o.key AND o.key <> '' AND e.key <> '' AND e.settled IS NULL
                AND e.number < o.number
        )
    ORDER BY number LIMIT CAST($4 AS integer) FOR UPDATE SKIP LOCKED
)
RETURNING number, id, type, key, data, attributes, at, destination

-- What went to a queue is of no use any more; events are kept for a while.
-- name: settle
WITH given AS MATERIALIZED (
    SELECT CAST(jsonb_array_elements_text(CAST(CAST($1 AS text) AS jsonb)) AS bigint) AS number
), gone AS (
    DELETE FROM amends.outbox WHERE number IN (SELECT number FROM given) AND destination <> '' AND settled IS NULL
    RETURNING number
), kept AS (
    UPDATE amends.outbox SET settled = extract(epoch FROM clock_timestamp())
    WHERE number IN (SELECT number FROM given) AND destination = '' AND settled IS NULL
    RETURNING number
)
SELECT number FROM gone UNION ALL SELECT number FROM kept

-- Some of what was published since an instant is to be published again; those that are due by then are left alone.
-- name: republish
UPDATE amends.outbox SET settled = NULL, claimed = 0
WHERE number IN (
    SELECT number FROM amends.outbox
    WHERE service = CAST($1 AS text) AND at >= CAST($2 AS double precision)
        AND settled < CAST($3 AS double precision)
    ORDER BY number LIMIT CAST($4 AS integer) FOR UPDATE
)
RETURNING 1

-- Where a choreographed saga stands in a service, unless it has gone on from `base` there already (so many rows has the
-- history that this was decided on), or somebody wants something of it that was not met; and, only then, what is sent.
-- name: hop_keep
WITH kept AS (
    INSERT INTO amends.hop (
        saga, address, phase, round, service, stand, due, key, plan, fingerprint, home, marks, length, history, at
    )
    SELECT saga, address, phase, round, service, stand, due, key, plan, fingerprint, home, marks, length, history,
        extract(epoch FROM clock_timestamp())
    FROM jsonb_to_record(CAST(CAST($1 AS text) AS jsonb)) AS h (
        saga uuid, address text, phase text, round integer, service text, stand text, due double precision, key text,
        plan text, fingerprint text, home text, marks text, length integer, history text
    )
    WHERE h.stand = 'unknown-plan' OR NOT EXISTS (
        SELECT 1 FROM amends.mark AS m
        WHERE m.saga = h.saga AND m.service = h.service AND NOT m.at_home AND position(m.id IN h.marks) = 0
    )
    ON CONFLICT (saga, service, address, phase, round) DO UPDATE SET stand = excluded.stand, due = excluded.due,
        length = excluded.length, history = excluded.history, marks = excluded.marks,
        fingerprint = excluded.fingerprint, at = excluded.at
    WHERE amends.hop.length = CAST(CAST(CAST($1 AS text) AS jsonb) ->> 'base' AS integer)
        OR (amends.hop.length = 0 AND excluded.length > 0)
    RETURNING saga, service, length
), answered AS (
    UPDATE amends.mark AS m SET word = a.word, detail = a.detail, length = kept.length
    FROM kept, jsonb_to_recordset(CAST(CAST($1 AS text) AS jsonb) -> 'answers') AS a (id text, word text, detail text)
    WHERE m.saga = kept.saga AND m.service = kept.service AND m.id = a.id AND NOT m.at_home
), sent AS (
    INSERT INTO amends.outbox (service, id, type, key, data, attributes, destination, at)
    SELECT service, id, type, key, data, attributes, destination, extract(epoch FROM clock_timestamp())
    FROM jsonb_to_recordset(CAST(CAST($2 AS text) AS jsonb))
        AS e (place integer, service text, id text, type text, key text, data text, attributes text, destination text)
    WHERE EXISTS (SELECT 1 FROM kept)
    ORDER BY place
    RETURNING number, id
)
SELECT number, id FROM sent UNION ALL SELECT 0, '' FROM kept

-- name: hop_at
SELECT stand, due, length, history, marks FROM amends.hop
WHERE saga = CAST(CAST($1 AS text) AS uuid) AND service = CAST($2 AS text) AND address = CAST($3 AS text)
    AND phase = CAST($4 AS text) AND round = CAST($5 AS integer)

-- Those that wait, and are due; nobody else takes them for a while.
-- name: hop_due
UPDATE amends.hop SET due = extract(epoch FROM clock_timestamp()) + CAST($3 AS double precision)
WHERE (saga, service, address, phase, round) IN (
    SELECT saga, service, address, phase, round FROM amends.hop
    WHERE service = CAST($1 AS text) AND due <= extract(epoch FROM clock_timestamp())
    ORDER BY due LIMIT CAST($2 AS integer) FOR UPDATE SKIP LOCKED
)
RETURNING replace(CAST(saga AS text), '-', ''), key, plan, fingerprint, home, address, phase, round, history, marks,
    stand, length, due

-- Those of a saga that are here for now: waiting, or parked.
-- name: hop_held
SELECT replace(CAST(saga AS text), '-', ''), key, plan, fingerprint, home, address, phase, round, history, marks,
    stand, length, due
FROM amends.hop
WHERE saga = CAST(CAST($1 AS text) AS uuid) AND service = CAST($2 AS text) AND stand IN ('waiting', 'parked')

-- name: mark_keep
INSERT INTO amends.mark (saga, service, id, at_home, verb, address, actor, reason, result, more, due, at)
SELECT saga, service, id, at_home, verb, address, actor, reason, result, more,
    CASE WHEN at_home THEN extract(epoch FROM clock_timestamp()) + seconds END, extract(epoch FROM clock_timestamp())
FROM jsonb_to_record(CAST(CAST($1 AS text) AS jsonb)) AS m (
    saga uuid, service text, id text, at_home boolean, verb text, address text, actor text, reason text, result text,
    more text, seconds double precision
)
ON CONFLICT DO NOTHING
RETURNING 1

-- Of a saga, in a service, for whoever holds it.
-- name: marks_of
SELECT id, verb, address, actor, reason, result, more FROM amends.mark
WHERE saga = CAST(CAST($1 AS text) AS uuid) AND service = CAST($2 AS text) AND NOT at_home
ORDER BY at

-- One that was kept at its home before.
-- name: mark_at
SELECT id, verb, address, actor, reason, result, more FROM amends.mark
WHERE saga = CAST(CAST($1 AS text) AS uuid) AND service = CAST($2 AS text) AND id = CAST($3 AS text) AND at_home

-- What was said to it in a service.
-- name: mark_said
SELECT word, detail, length FROM amends.mark
WHERE saga = CAST(CAST($1 AS text) AS uuid) AND service = CAST($2 AS text) AND id = CAST($3 AS text) AND NOT at_home
    AND word <> ''

-- The first answer counts. Where the saga goes on by it, what comes of that is waited for at its home, and what was said
-- before it is not heard any more.
-- name: mark_answered
WITH answered AS (
    UPDATE amends.mark SET word = CAST($4 AS text), detail = CAST($5 AS text), length = CAST($6 AS integer), due = NULL
    WHERE saga = CAST(CAST($1 AS text) AS uuid) AND service = CAST($2 AS text) AND id = CAST($3 AS text) AND at_home
        AND word = ''
    RETURNING 1
), reopened AS (
    UPDATE amends.home SET stand = 'open', tries = 0, length = CAST($6 AS integer),
        due = extract(epoch FROM clock_timestamp()) + seconds
    WHERE saga = CAST(CAST($1 AS text) AS uuid) AND CAST($4 AS text) = 'accepted' AND stand <> 'ended'
        AND length < CAST($6 AS integer)
)
SELECT 1 FROM answered

-- name: mark_word
SELECT word, detail FROM amends.mark
WHERE saga = CAST(CAST($1 AS text) AS uuid) AND service = CAST($2 AS text) AND id = CAST($3 AS text) AND at_home

-- Those that nobody has answered yet; they go out again.
-- name: mark_due
UPDATE amends.mark AS m SET due = extract(epoch FROM clock_timestamp()) + CAST($3 AS double precision)
FROM amends.home AS h
WHERE h.saga = m.saga AND (m.saga, m.service, m.id, m.at_home) IN (
    SELECT saga, service, id, at_home FROM amends.mark
    WHERE service = CAST($1 AS text) AND due <= extract(epoch FROM clock_timestamp())
    ORDER BY due LIMIT CAST($2 AS integer) FOR UPDATE SKIP LOCKED
)
RETURNING replace(CAST(m.saga AS text), '-', ''), h.key, h.plan, h.fingerprint, h.stand, h.marks, h.way, m.id, m.verb,
    m.address, m.actor, m.reason, m.result, m.more

-- name: home_open
INSERT INTO amends.home (saga, service, key, plan, fingerprint, way, seconds, first, history, length, due, at)
SELECT saga, service, key, plan, fingerprint, way, seconds, history, history, length,
    extract(epoch FROM clock_timestamp()) + seconds, extract(epoch FROM clock_timestamp())
FROM jsonb_to_record(CAST(CAST($1 AS text) AS jsonb)) AS h (
    saga uuid, service text, key text, plan text, fingerprint text, way text, history text, length integer,
    seconds double precision
)
ON CONFLICT DO NOTHING
RETURNING 1

-- name: home_way
SELECT way FROM amends.home WHERE saga = CAST(CAST($1 AS text) AS uuid) AND service = CAST($2 AS text)

-- Of a service, by the user's id.
-- name: home_at
SELECT replace(CAST(o.saga AS text), '-', ''), o.plan, o.fingerprint, o.stand, o.first, o.history
FROM amends.home AS o
JOIN jsonb_to_record(CAST(CAST($1 AS text) AS jsonb)) AS h (service text, key text)
    ON o.service = h.service AND o.key = h.key

-- Of those with these ids, which have ended or are parked.
-- name: home_settled
SELECT o.key, o.stand, o.history
FROM jsonb_to_record(CAST(CAST($1 AS text) AS jsonb)) AS h (service text, keys jsonb)
CROSS JOIN LATERAL jsonb_array_elements_text(h.keys) AS k (key)
JOIN amends.home AS o ON o.service = h.service AND o.key = k.key
WHERE o.stand IN ('ended', 'parked')

-- Of a service, newest first: for people. Along the primary key, and so without sorting: a database has few services;
-- with nothing appended the index of (service, key) is no use.
-- name: home_list
WITH h AS (
    SELECT service, stands, plans, coalesce(before, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AS before
    FROM jsonb_to_record(CAST(CAST($1 AS text) AS jsonb)) AS h (service text, stands jsonb, plans jsonb, before uuid)
)
SELECT replace(CAST(o.saga AS text), '-', ''), o.plan, o.fingerprint, o.stand, o.first, o.history, o.key
FROM amends.home AS o
WHERE o.service || '' = (SELECT service FROM h)
    AND jsonb_exists((SELECT stands FROM h), o.stand)
    AND (coalesce(jsonb_typeof((SELECT plans FROM h)), 'null') = 'null' OR jsonb_exists((SELECT plans FROM h), o.plan))
    AND o.saga < (SELECT before FROM h)
ORDER BY o.saga DESC LIMIT CAST($2 AS integer)

-- The same where none that has ended is looked for: the index has the others, in this order.
-- name: home_list_open
WITH h AS (
    SELECT service, stands, plans, coalesce(before, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AS before
    FROM jsonb_to_record(CAST(CAST($1 AS text) AS jsonb)) AS h (service text, stands jsonb, plans jsonb, before uuid)
)
SELECT replace(CAST(o.saga AS text), '-', ''), o.plan, o.fingerprint, o.stand, o.first, o.history, o.key
FROM amends.home AS o
WHERE o.service = (SELECT service FROM h) AND o.stand <> 'ended'
    AND jsonb_exists((SELECT stands FROM h), o.stand)
    AND (coalesce(jsonb_typeof((SELECT plans FROM h)), 'null') = 'null' OR jsonb_exists((SELECT plans FROM h), o.plan))
    AND o.saga < (SELECT before FROM h)
ORDER BY o.saga DESC LIMIT CAST($2 AS integer)

-- name: home_marks
SELECT id, verb, address, actor, reason, word, detail, at FROM amends.mark
WHERE saga = CAST(CAST($1 AS text) AS uuid) AND service = CAST($2 AS text) AND at_home
ORDER BY at

-- What the holder says. A saga that has ended stays so; one that rests may go on, and be lost, before its home hears.
-- name: home_told
UPDATE amends.home SET stand = CAST($2 AS text), length = CAST($3 AS integer), history = CAST($4 AS text),
    marks = CAST($5 AS text), due = extract(epoch FROM clock_timestamp())
        + CASE WHEN CAST($2 AS text) = 'ended' THEN CAST($6 AS double precision) ELSE seconds END,
    at = extract(epoch FROM clock_timestamp())
WHERE saga = CAST(CAST($1 AS text) AS uuid) AND stand <> 'ended'
    AND (length < CAST($3 AS integer) OR (length = CAST($3 AS integer) AND stand = 'open'))
RETURNING way

-- All services have heard that these have ended.
-- name: home_closed
UPDATE amends.home SET due = NULL WHERE saga IN (
    SELECT o.saga FROM amends.home AS o
    JOIN jsonb_array_elements_text(CAST(CAST($1 AS text) AS jsonb)) AS s (saga) ON o.saga = CAST(s.saga AS uuid)
    WHERE o.stand = 'ended' ORDER BY o.saga FOR UPDATE OF o
)
RETURNING 1

-- Those of which nothing was heard for long; their first baton goes out again, each time after a longer while. And those
-- whose services may not know that they have ended.
-- name: home_due
UPDATE amends.home SET tries = tries + 1, due = extract(epoch FROM clock_timestamp())
    + least(seconds * power(2, least(tries, 20)), greatest(seconds, CAST($3 AS double precision)))
WHERE saga IN (
    SELECT saga FROM amends.home WHERE service = CAST($1 AS text) AND due <= extract(epoch FROM clock_timestamp())
    ORDER BY due LIMIT CAST($2 AS integer) FOR UPDATE SKIP LOCKED
)
RETURNING replace(CAST(saga AS text), '-', ''), key, plan, fingerprint, stand, way, first

-- Counts stop at a bound: they are looked at often. The ages are in seconds, and 0 where there is nothing.
-- name: figures
SELECT
    (SELECT count(*) FROM (SELECT 1 FROM amends.inbox LIMIT 100000) AS counted),
    (SELECT count(*) FROM (SELECT 1 FROM amends.inbox_ended LIMIT 100000) AS counted),
    (SELECT coalesce(extract(epoch FROM clock_timestamp()) - min(at), 0) FROM amends.inbox_ended),
    (SELECT count(*) FROM (
        SELECT 1 FROM amends.outbox WHERE service = CAST($1 AS text) AND settled IS NULL LIMIT 100000
    ) AS counted),
    (SELECT coalesce(extract(epoch FROM clock_timestamp()) - (
        SELECT at FROM amends.outbox WHERE service = CAST($1 AS text) AND settled IS NULL ORDER BY number LIMIT 1
    ), 0)),
    (SELECT count(*) FROM amends.inbox_death WHERE deaths > 0 OR parked > 0)

-- name: now
SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)

-- name: drop
DROP TABLE IF EXISTS amends.inbox, amends.inbox_ended, amends.inbox_event, amends.inbox_death, amends.outbox, amends.hop,
    amends.home, amends.mark,
    amends.inbox_version;
