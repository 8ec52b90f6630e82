-- What is written inside a user's own transaction, by name. It runs at whatever isolation level that
-- has, on whatever connection, so everything has its schema before it and nothing depends on settings.
-- An expected refusal (the key is taken, there is no such saga) is a result, never an error, which
-- would take the user's transaction with it. At REPEATABLE READ and SERIALIZABLE a conflict with what
-- the snapshot does not see is a serialization failure (40001), as ever there.
-- Instants are of this server at this moment, not of the transaction's beginning.
-- Each has at most one parameter, a text with JSON: so the same words do for every driver. CAST, since
-- some of them take a colon for a name.

-- Where the transaction is, and whether this role may write here.
-- name: place
SELECT CAST(d.oid AS text), d.datname, CAST(current_user AS text), pg_is_in_recovery(), t.tables = 3, t.writable,
       has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')
FROM pg_catalog.pg_database d,
     (SELECT count(*) AS tables,
             bool_and(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'INSERT')
                      AND (c.relname <> 'saga' OR has_table_privilege(c.oid, 'SELECT'))) AS writable
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = 'amends' AND c.relname IN ('saga', 'journal', 'mail')) AS t
WHERE d.datname = current_database()

-- Copies of a server's files have it too: replicas, and clones.
-- name: server
SELECT CAST(system_identifier AS text) FROM pg_catalog.pg_control_system()

-- A saga that nobody owns, due at once: its head and its first journal row.
-- name: start
WITH given AS MATERIALIZED (
    SELECT g.*, CAST(extract(epoch FROM clock_timestamp()) AS float8) AS now
    FROM json_to_record(CAST(CAST($1 AS text) AS json))
         AS g (ns int, plan int, id uuid, key text, input_hash text, op bigint, row text)
), added AS (
    INSERT INTO amends.saga (ns, plan, id, key, status, epoch, owner, wake_at, created_at, updated_at, input_hash)
    SELECT ns, plan, id, key, 'running', 1, NULL, now, now, now, decode(input_hash, 'hex') FROM given
    ON CONFLICT DO NOTHING
    RETURNING id
), first AS (
    INSERT INTO amends.journal (ns, seq, saga, op, row)
    SELECT g.ns, 0, g.id, g.op, g.row FROM given g WHERE g.id IN (SELECT id FROM added)
)
SELECT CAST((SELECT count(*) FROM added) AS int), now FROM given

-- name: head
SELECT CAST(s.id AS text), s.key, s.plan, s.status, s.owner, s.epoch, s.wake_at, s.created_at, s.updated_at, s.stuck,
       s.reason, s.stalled, encode(s.input_hash, 'hex'), s.assigned, s.note, s.fingerprint, s.step
FROM json_to_record(CAST(CAST($1 AS text) AS json)) AS g (ns int, key text)
JOIN amends.saga s ON s.ns = g.ns AND s.key = g.key

-- A mail that is there already under its id is that mail: it counts once.
-- name: send
WITH given AS MATERIALIZED (
    SELECT s.id AS saga, g.*, CAST(extract(epoch FROM clock_timestamp()) AS float8) AS now
    FROM json_to_record(CAST(CAST($1 AS text) AS json)) AS g (ns int, key text, message text, kind text, body text)
    JOIN amends.saga s ON s.ns = g.ns AND s.key = g.key
), added AS (
    INSERT INTO amends.mail (ns, saga, message, kind, body, created_at)
    SELECT ns, saga, message, kind, body, now FROM given
    ON CONFLICT DO NOTHING
)
SELECT now FROM given
