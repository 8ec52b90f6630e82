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

-- name: schema_there
SELECT to_regclass('amends.inbox_version') IS NOT NULL

-- name: schema
SELECT version, floor FROM amends.inbox_version

-- The store's own: both make the schema that they share.
-- name: schema_lock
SELECT 1 FROM pg_advisory_xact_lock(7019, 4227)

-- name: wait_for_schema
SELECT set_config('lock_timeout', '0', true)
