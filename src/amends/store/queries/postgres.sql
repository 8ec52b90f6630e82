-- The statements of the PostgreSQL store, by name. Each runs by itself and commits by itself, at
-- READ COMMITTED: a client that is frozen at any point holds no lock. Whoever writes for a worker
-- takes that worker's row FOR SHARE first: it is the first guard, retirement waits for it, and it
-- finds out about a retirement that this statement's snapshot is too old to see.
-- All locks of sagas are taken in the order of their ids, those of new ones in the order of their keys,
-- or not waited for.
-- Plans are kept, or made without statistics, while the tables grow from nothing: what is looked
-- for in a table comes out of a fence (OFFSET 0, a CTE that locks), its namespace too, and a CASE hides
-- what would let a partial index be read from end to end. So no plan is left but a lookup by whole key.

-- Asked of the catalog's rows: a session may remember by its name that a table was not there, also behind a lock.
-- name: schema_there
SELECT EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'amends' AND c.relname = 'schema_version')

-- name: schema
SELECT version, floor FROM amends.schema_version

-- Held until the transaction ends, whatever pooler stands between.
-- name: schema_lock
SELECT pg_advisory_xact_lock(7019, 4227)

-- name: server
SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), current_setting('synchronous_commit'),
       extract(epoch FROM clock_timestamp())::float8

-- Which database this is, for telling a user's connection to it from one to another.
-- name: database_number
SELECT CAST(oid AS text), has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')
FROM pg_catalog.pg_database WHERE datname = current_database()

-- name: server_number
SELECT CAST(system_identifier AS text) FROM pg_catalog.pg_control_system()

-- name: namespace_add
INSERT INTO amends.namespace (name) VALUES ($1) ON CONFLICT DO NOTHING

-- name: namespace
SELECT id FROM amends.namespace WHERE name = $1

-- name: plan_add
INSERT INTO amends.plan (ns, fingerprint, name, body)
SELECT $1, p.* FROM unnest($2::text[], $3::text[], $4::text[]) AS p (fingerprint, name, body)
ORDER BY p.fingerprint COLLATE "C" ON CONFLICT DO NOTHING

-- name: plan_numbers
SELECT fingerprint, id FROM amends.plan WHERE ns = $1 AND fingerprint = ANY($2::text[])

-- name: plans
SELECT id, fingerprint, name, body FROM amends.plan WHERE ns = $1 ORDER BY id

-- name: token_keys
SELECT number, name, secret FROM amends.token_key WHERE ns = $1 ORDER BY number DESC

-- name: token_key_add
INSERT INTO amends.token_key (ns, number, name, secret)
SELECT $1, coalesce(max(k.number), 0) + 1, coalesce(min(k.name), $2), $3 FROM amends.token_key AS k WHERE k.ns = $1
ON CONFLICT DO NOTHING

-- name: token_key_tidy
DELETE FROM amends.token_key AS k WHERE k.ns = $1 AND k.number <= $2

-- name: worker_add
INSERT INTO amends.worker (ns, host, pid, plans, started_at, expires_at)
VALUES ($1, $2, $3, $4::int[], extract(epoch FROM clock_timestamp()), extract(epoch FROM clock_timestamp()) + $5::float8)
RETURNING id, started_at

-- name: worker_renew
UPDATE amends.worker SET expires_at = extract(epoch FROM clock_timestamp()) + $2::float8, plans = $3::int[]
WHERE id = $1 AND retired_at IS NULL
RETURNING extract(epoch FROM clock_timestamp())::float8

-- name: worker_leave
UPDATE amends.worker
SET retired_at = coalesce(retired_at, extract(epoch FROM clock_timestamp())),
    left_at = extract(epoch FROM clock_timestamp()), survived = survived OR $2::boolean
WHERE id = $1

-- name: worker_alive
SELECT 1 FROM amends.worker WHERE id = $1 AND retired_at IS NULL

-- name: worker_expired
SELECT id FROM amends.worker
WHERE ns = $1 AND id <> $2 AND retired_at IS NULL AND expires_at < extract(epoch FROM clock_timestamp()) ORDER BY id

-- Alone, and with no other lock held: two workers that retire each other wait for nothing, and
-- whoever writes for the other at this moment is waited for.
-- name: worker_retire
UPDATE amends.worker SET retired_at = extract(epoch FROM clock_timestamp())
WHERE id = $1 AND retired_at IS NULL AND expires_at < extract(epoch FROM clock_timestamp())

-- (No EXISTS: it may be planned as one look through all that is open.)
-- name: worker_owners
SELECT w.id FROM amends.worker w
WHERE w.ns = $1 AND w.retired_at IS NOT NULL
  AND (SELECT true FROM amends.saga s WHERE s.ns = w.ns AND s.owner = w.id
       AND s.status IN ('running', 'compensating', 'parked') LIMIT 1)
ORDER BY w.id

-- name: worker_old
SELECT count(*) FROM amends.worker WHERE ns = $1 AND retired_at < extract(epoch FROM clock_timestamp()) - $2::float8

-- A worker that was retired before the oldest open saga began is in nobody's history.
-- name: worker_tidy
DELETE FROM amends.worker
WHERE ns = $1 AND retired_at < extract(epoch FROM clock_timestamp()) - $2::float8
  AND retired_at < coalesce((SELECT min(created_at) FROM amends.saga
                             WHERE ns = $1 AND status IN ('running', 'compensating', 'parked')), 'infinity')

-- name: workers
SELECT id, host, pid, plans, started_at, expires_at, retired_at, survived, left_at
FROM amends.worker WHERE ns = $1 ORDER BY id

-- The one statement of the committer, whatever the batch. Both guards stand in it, and all that a
-- saga's decision changes hangs on them: the worker lives (`alive`), and the saga has not moved
-- (`first`: the row before is there, and this one is not). A saga's further rows, its head and its
-- mails follow from what `first` has returned. Of a new saga the head comes first; whoever waits there
-- for a user's open transaction with the same key is what `lock_timeout` is for.
-- name: commit
WITH alive AS MATERIALIZED (
    SELECT id FROM amends.worker WHERE id = $2 AND retired_at IS NULL FOR SHARE
), added AS (
    INSERT INTO amends.saga
        (ns, plan, id, key, status, epoch, owner, wake_at, created_at, updated_at, input_hash, stuck, reason,
         fingerprint, step)
    SELECT $1, n.plan, n.id, n.key, n.status, 1, n.owner, n.wake_at, n.created_at, $3, n.input_hash, n.stuck, n.reason,
           n.fingerprint, n.step
    FROM alive, unnest($4::uuid[], $5::text[], $6::int[], $7::text[], $8::bigint[], $9::float8[], $10::float8[],
                       $11::bytea[], $12::text[], $13::text[], $37::text[], $38::text[])
         AS n (id, key, plan, status, owner, wake_at, created_at, input_hash, stuck, reason, fingerprint, step)
    ORDER BY n.key COLLATE "C"  -- two processes that start the same ones wait for each other in one direction only
    ON CONFLICT DO NOTHING
    RETURNING id
), first AS (
    INSERT INTO amends.journal (ns, seq, saga, op, row)
    SELECT $1, r.seq, r.saga, r.op, r.row
    FROM alive, unnest($14::uuid[], $15::int[], $16::bigint[], $17::text[]) AS r (saga, seq, op, row)
    WHERE CASE WHEN r.seq = 0 THEN r.saga IN (SELECT id FROM added) ELSE r.seq - 1 =
               (SELECT j.seq FROM amends.journal j WHERE j.ns = $1 AND j.saga = r.saga AND j.seq = r.seq - 1) END
    ON CONFLICT DO NOTHING
    RETURNING saga
), further AS (
    INSERT INTO amends.journal (ns, seq, saga, op, row)
    SELECT $1, r.seq, r.saga, r.op, r.row
    FROM unnest($18::uuid[], $19::int[], $20::bigint[], $21::text[]) AS r (saga, seq, op, row)
    WHERE CASE WHEN r.saga IN (SELECT saga FROM first) THEN true END
), changed AS (
    UPDATE amends.saga s
    SET status = c.status, owner = c.owner, wake_at = c.wake_at, stuck = c.stuck, reason = c.reason,
        plan = coalesce(c.plan, s.plan), assigned = c.assigned, note = c.note, fingerprint = c.fingerprint,
        step = c.step, updated_at = $3
    FROM (SELECT $1::int AS ns, c.*
          FROM unnest($22::uuid[], $23::text[], $24::bigint[], $25::float8[], $26::text[], $27::text[], $28::int[],
                      $33::text[], $34::text[], $35::text[], $36::text[])
               AS c (saga, status, owner, wake_at, stuck, reason, plan, assigned, note, fingerprint, step)
          WHERE CASE WHEN c.saga IN (SELECT saga FROM first) THEN true END OFFSET 0) AS c
    WHERE s.ns = c.ns AND s.id = c.saga
), answered AS (
    UPDATE amends.mail m
    SET taken = true, answer = a.word, detail = a.detail, answered_at = CASE WHEN a.word IS NOT NULL THEN $3 END
    FROM (SELECT $1::int AS ns, a.*
          FROM unnest($29::uuid[], $30::text[], $31::text[], $32::text[]) AS a (saga, message, word, detail)
          WHERE CASE WHEN a.saga IN (SELECT saga FROM first) THEN true END OFFSET 0) AS a
    WHERE m.ns = a.ns AND m.saga = a.saga AND m.message = a.message AND CASE WHEN m.answer IS NULL THEN true END
)
SELECT (SELECT count(*) FROM alive), (SELECT count(*) FROM first)

-- A client's: new sagas that nobody owns.
-- name: start
WITH added AS (
    INSERT INTO amends.saga
        (ns, plan, id, key, status, epoch, owner, wake_at, created_at, updated_at, input_hash, stuck, reason)
    SELECT $1, n.plan, n.id, n.key, n.status, 1, NULL, n.wake_at, n.created_at, $2, n.input_hash, n.stuck, n.reason
    FROM unnest($3::uuid[], $4::text[], $5::int[], $6::text[], $7::float8[], $8::float8[], $9::bytea[], $10::text[],
                $11::text[])
         AS n (id, key, plan, status, wake_at, created_at, input_hash, stuck, reason)
    ORDER BY n.key COLLATE "C"
    ON CONFLICT DO NOTHING
    RETURNING id
), first AS (
    INSERT INTO amends.journal (ns, seq, saga, op, row)
    SELECT $1, r.seq, r.saga, r.op, r.row
    FROM unnest($12::uuid[], $13::int[], $14::bigint[], $15::text[]) AS r (saga, seq, op, row)
    WHERE r.saga IN (SELECT id FROM added)
    ON CONFLICT DO NOTHING
    RETURNING saga
)
SELECT count(*), extract(epoch FROM clock_timestamp())::float8 FROM first

-- What is there of a batch that was not written as a whole: it begins after that statement has
-- ended, and sees all that stood in its way.
-- name: journal_ops
SELECT j.saga, j.seq, j.op
FROM (SELECT $1::int AS ns, r.* FROM unnest($2::uuid[], $3::int[]) AS r (saga, seq) OFFSET 0) AS r
JOIN amends.journal j ON j.ns = r.ns AND j.saga = r.saga AND j.seq = r.seq

-- Of a batch that waits for a lock: the sagas whose heads nobody holds. They are let go of at once.
-- name: heads_free
SELECT id FROM amends.saga WHERE ns = $1 AND id = ANY($2::uuid[]) FOR NO KEY UPDATE SKIP LOCKED

-- name: peek
SELECT EXISTS (SELECT FROM amends.saga WHERE ns = $1 AND owner IS NULL
               AND wake_at <= extract(epoch FROM statement_timestamp())::float8
               AND status IN ('running', 'compensating', 'parked')),
       EXISTS (SELECT FROM amends.mail WHERE ns = $1 AND answer IS NULL AND NOT taken),
       EXISTS (SELECT FROM amends.worker w
               WHERE w.ns = $1 AND CASE WHEN w.retired_at IS NULL
                   THEN w.expires_at < extract(epoch FROM statement_timestamp())::float8
                   ELSE (SELECT true FROM amends.saga s WHERE s.ns = w.ns AND s.owner = w.id
                         AND s.status IN ('running', 'compensating', 'parked') LIMIT 1) END),
       (SELECT min(expires_at) FROM amends.worker WHERE ns = $1 AND retired_at IS NULL),
       extract(epoch FROM clock_timestamp())::float8

-- What is due, the longest due first; then waiting and parked sagas with mail; then stalled ones
-- that this worker's registration says it runs. Rows that somebody else is about to own are passed
-- over. (Their journal is read by a statement of its own, which begins when they are owned.)
-- name: claim
WITH alive AS MATERIALIZED (
    SELECT plans FROM amends.worker WHERE id = $2 AND retired_at IS NULL FOR SHARE
), due AS (
    SELECT ns, id, wake_at FROM amends.saga
    WHERE ns = $1 AND owner IS NULL AND wake_at <= extract(epoch FROM statement_timestamp())::float8
      AND status IN ('running', 'compensating', 'parked') AND plan = ANY($3::int[])
    ORDER BY wake_at LIMIT $4 FOR UPDATE SKIP LOCKED
), mailed AS (
    SELECT s.ns, s.id
    FROM (SELECT DISTINCT $1::int AS ns, saga FROM amends.mail WHERE ns = $1 AND answer IS NULL AND NOT taken OFFSET 0) AS m
    JOIN amends.saga s ON s.ns = m.ns AND s.id = m.saga
    WHERE CASE WHEN s.owner IS NULL AND s.status IN ('running', 'compensating', 'parked') AND s.plan = ANY($3::int[])
               AND s.stalled IS NULL
               AND (s.wake_at IS NULL OR s.wake_at > extract(epoch FROM statement_timestamp())::float8) THEN true END
    LIMIT $4 FOR UPDATE OF s SKIP LOCKED
), stalled AS (
    SELECT ns, id FROM amends.saga
    WHERE ns = $1 AND stalled IS NOT NULL AND plan = ANY((SELECT plans FROM alive)::int[])
      AND CASE WHEN owner IS NULL AND status IN ('running', 'compensating', 'parked') THEN true END
    LIMIT $4 FOR UPDATE SKIP LOCKED
), found AS (
    SELECT ns, id FROM (SELECT ns, id, 1 AS kind, wake_at FROM due
                        UNION ALL SELECT ns, id, 2, NULL FROM mailed
                        UNION ALL SELECT ns, id, 3, NULL FROM stalled) AS all_kinds
    ORDER BY kind, wake_at LIMIT $4
), owned AS (
    UPDATE amends.saga s SET owner = $2, epoch = epoch + 1, stalled = NULL
    FROM alive, found WHERE s.ns = found.ns AND s.id = found.id
    RETURNING s.id, s.key, s.plan, s.status, s.owner, s.epoch, s.wake_at, s.created_at, s.updated_at, s.stuck, s.reason,
              s.stalled, s.input_hash, s.assigned, s.note, s.fingerprint, s.step
)
SELECT alive.plans IS NOT NULL, owned.*
FROM (SELECT 1) AS one LEFT JOIN alive ON true LEFT JOIN owned ON true ORDER BY owned.wake_at

-- Of a worker that is retired, for good: nothing of its is on the way any more when this begins.
-- name: adopt
WITH alive AS MATERIALIZED (
    SELECT plans FROM amends.worker WHERE id = $2 AND retired_at IS NULL FOR SHARE
), found AS (
    SELECT ns, id FROM amends.saga
    WHERE ns = $1 AND owner = $3 AND status IN ('running', 'compensating', 'parked')
      AND (stalled IS NULL OR plan = ANY((SELECT plans FROM alive)::int[]))
      AND NOT EXISTS (SELECT FROM amends.worker WHERE id = $3 AND retired_at IS NULL)
    LIMIT $4 FOR UPDATE SKIP LOCKED
), owned AS (
    UPDATE amends.saga s SET owner = $2, epoch = epoch + 1, stalled = NULL
    FROM alive, found WHERE s.ns = found.ns AND s.id = found.id
    RETURNING s.id, s.key, s.plan, s.status, s.owner, s.epoch, s.wake_at, s.created_at, s.updated_at, s.stuck, s.reason,
              s.stalled, s.input_hash, s.assigned, s.note, s.fingerprint, s.step
)
SELECT alive.plans IS NOT NULL, owned.* FROM (SELECT 1) AS one LEFT JOIN alive ON true LEFT JOIN owned ON true

-- How many rows the journals of some sagas have, each a lookup of its last one.
-- name: lengths
SELECT w.id, (SELECT j.seq + 1 FROM amends.journal j WHERE j.ns = w.ns AND j.saga = w.id ORDER BY j.seq DESC LIMIT 1)
FROM (SELECT $1::int AS ns, w.* FROM unnest($2::uuid[]) AS w (id) OFFSET 0) AS w

-- What was due long ago and nobody took, by the same index as what is due.
-- name: overdue
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends.saga
WHERE ns = $1 AND owner IS NULL AND wake_at <= $2::float8 AND status IN ('running', 'compensating', 'parked')
ORDER BY wake_at LIMIT $3

-- name: journal_rows
SELECT saga, row FROM amends.journal WHERE ns = $1 AND saga = ANY($2::uuid[]) ORDER BY saga, seq

-- name: owned
SELECT s.id, s.key, s.plan, s.status, s.owner, s.epoch, s.wake_at, s.created_at, s.updated_at, s.stuck, s.reason,
       s.stalled, s.input_hash, s.assigned, s.note, s.fingerprint, s.step,
       ARRAY(SELECT j.row FROM amends.journal j WHERE j.ns = s.ns AND j.saga = s.id ORDER BY j.seq)
FROM amends.saga s
WHERE s.ns = $1 AND s.owner = $2 AND s.status IN ('running', 'compensating', 'parked') AND s.id <> ALL($3::uuid[])

-- No wake-up: a saga that nobody here can run is not due, or every look would find it. One that was
-- taken over falls back to the retired worker whose attempts are not settled.
-- name: stall
WITH alive AS MATERIALIZED (
    SELECT id FROM amends.worker WHERE id = $2 AND retired_at IS NULL FOR SHARE
), stalled AS (
    UPDATE amends.saga
    SET owner = $5, stalled = $4, wake_at = NULL, updated_at = extract(epoch FROM clock_timestamp())
    FROM alive WHERE ns = $1 AND amends.saga.id = $3 AND owner = $2
)
SELECT count(*) FROM alive

-- name: release
WITH alive AS MATERIALIZED (
    SELECT id FROM amends.worker WHERE id = $2 AND retired_at IS NULL FOR SHARE
), released AS (
    UPDATE amends.saga s SET owner = NULL, wake_at = r.wake_at
    FROM (SELECT $1::int AS ns, r.* FROM alive, unnest($3::uuid[], $4::float8[]) AS r (id, wake_at) OFFSET 0) AS r
    WHERE s.ns = r.ns AND s.id = r.id AND s.owner = $2
)
SELECT count(*) FROM alive

-- name: unstall
WITH held AS (
    SELECT ns, id FROM amends.saga WHERE ns = $1 AND stalled IS NOT NULL AND plan = ANY($2::int[])
    LIMIT $3 FOR UPDATE SKIP LOCKED
), freed AS (
    UPDATE amends.saga s SET stalled = NULL, wake_at = extract(epoch FROM statement_timestamp())
    FROM held WHERE s.ns = held.ns AND s.id = held.id RETURNING 1
)
SELECT count(*) FROM freed

-- name: rouse
WITH idle AS (
    SELECT ns, id FROM amends.saga
    WHERE ns = $1 AND owner IS NULL AND (wake_at IS NULL OR wake_at > extract(epoch FROM statement_timestamp())::float8)
      AND status IN ('running', 'compensating') AND stalled IS NULL AND plan = ANY($2::int[])
    LIMIT $3 FOR UPDATE SKIP LOCKED
), roused AS (
    UPDATE amends.saga s SET wake_at = extract(epoch FROM statement_timestamp())
    FROM idle WHERE s.ns = idle.ns AND s.id = idle.id RETURNING 1
)
SELECT count(*) FROM roused

-- name: mail_owned
SELECT m.id, m.saga, m.message, m.kind, m.body, m.created_at, m.answer, m.detail, m.answered_at
FROM (SELECT * FROM amends.mail WHERE ns = $1 AND answer IS NULL AND NOT taken OFFSET 0) AS m
JOIN amends.saga s ON s.ns = m.ns AND s.id = m.saga
WHERE s.owner = $2 ORDER BY m.id

-- A mail in a user's transaction may be committed after its saga was pruned: nobody will answer it.
-- name: mail_answer_ended
WITH asked AS (
    SELECT m.id, s.status
    FROM (SELECT * FROM amends.mail WHERE ns = $1 AND answer IS NULL OFFSET 0) AS m
    LEFT JOIN amends.saga s ON s.ns = m.ns AND s.id = m.saga
    WHERE s.id IS NULL OR s.status IN ('completed', 'compensated') LIMIT $2
), orphaned AS (
    DELETE FROM amends.mail m USING asked WHERE m.id = asked.id AND asked.status IS NULL
), answered AS (
    UPDATE amends.mail m
    SET answer = 'too late', detail = 'the saga is ' || asked.status,
        answered_at = extract(epoch FROM clock_timestamp())
    FROM asked
    WHERE m.id = asked.id AND asked.status IS NOT NULL AND CASE WHEN m.answer IS NULL THEN true END
    RETURNING 1
)
SELECT count(*) FROM answered

-- name: mail_add
INSERT INTO amends.mail (ns, saga, message, kind, body, created_at)
SELECT s.ns, s.id, w.message, w.kind, w.body, extract(epoch FROM clock_timestamp())
FROM (SELECT $1::int AS ns, w.*
      FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS w (key, message, kind, body, place)
      OFFSET 0) AS w
JOIN amends.saga s ON s.ns = w.ns AND s.key = w.key
ORDER BY w.place
ON CONFLICT DO NOTHING

-- name: mail_sent
SELECT w.place, m.id, m.saga, m.message, m.kind, m.body, m.created_at, m.answer, m.detail, m.answered_at
FROM (SELECT $1::int AS ns, w.*
      FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS w (key, message, place) OFFSET 0) AS w
JOIN amends.saga s ON s.ns = w.ns AND s.key = w.key
JOIN amends.mail m ON m.ns = s.ns AND m.saga = s.id AND m.message = w.message

-- name: mail_of
SELECT id, saga, message, kind, body, created_at, answer, detail, answered_at
FROM amends.mail WHERE ns = $1 AND saga = $2 ORDER BY id

-- name: head
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends.saga WHERE ns = $1 AND key = $2

-- name: load
SELECT s.id, s.key, s.plan, s.status, s.owner, s.epoch, s.wake_at, s.created_at, s.updated_at, s.stuck, s.reason,
       s.stalled, s.input_hash, s.assigned, s.note, s.fingerprint, s.step,
       ARRAY(SELECT j.row FROM amends.journal j WHERE j.ns = s.ns AND j.saga = s.id ORDER BY j.seq)
FROM amends.saga s WHERE s.ns = $1 AND s.key = $2

-- Newest first, along the primary key.
-- name: find
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends.saga
WHERE ns = $1 AND ($2::uuid IS NULL OR id < $2)
  AND ($3::text[] IS NULL OR status = ANY($3)) AND ($4::int[] IS NULL OR plan = ANY($4))
ORDER BY id DESC LIMIT $5

-- Only open ones, by their index, however many have ended.
-- name: find_open
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends.saga
WHERE ns = $1 AND ($2::uuid IS NULL OR id < $2) AND status IN ('running', 'compensating', 'parked')
  AND ($3::text[] IS NULL OR status = ANY($3)) AND ($4::int[] IS NULL OR plan = ANY($4))
ORDER BY id DESC LIMIT $5

-- name: find_trouble
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends.saga
WHERE ns = $1 AND ($2::uuid IS NULL OR id < $2) AND (stuck IS NOT NULL OR stalled IS NOT NULL)
  AND ($3::text[] IS NULL OR status = ANY($3)) AND ($4::int[] IS NULL OR plan = ANY($4))
ORDER BY id DESC LIMIT $5

-- name: count
SELECT plan, status, count(*) FROM amends.saga WHERE ns = $1 GROUP BY plan, status

-- name: count_open
SELECT plan, status, count(*) FROM amends.saga
WHERE ns = $1 AND status IN ('running', 'compensating', 'parked') GROUP BY plan, status

-- Looking for what may be forgotten, a stretch of the primary key at a time. What began later cannot have
-- ended before.
-- name: prunable
SELECT id, status IN ('completed', 'compensated') AND updated_at < $3::float8
FROM amends.saga WHERE ns = $1 AND id > $2::uuid AND id < $5::uuid ORDER BY id LIMIT $4

-- name: prune
WITH gone AS (
    DELETE FROM amends.saga
    WHERE ns = $1 AND id = ANY($2::uuid[])
      AND CASE WHEN status IN ('completed', 'compensated') AND updated_at < $3::float8 THEN true END
    RETURNING ns, id
), journal AS (
    DELETE FROM amends.journal j USING gone WHERE j.ns = gone.ns AND j.saga = gone.id
), mail AS (
    DELETE FROM amends.mail m USING gone WHERE m.ns = gone.ns AND m.saga = gone.id
)
SELECT count(*) FROM gone

-- name: notify
SELECT pg_notify($1, $2)

-- name: doctor_settings
SELECT name, setting FROM pg_settings
WHERE name IN ('synchronous_commit', 'fsync', 'full_page_writes', 'autovacuum', 'max_connections')

-- name: doctor_lag
SELECT count(*), min(wake_at) FROM amends.saga
WHERE ns = $1 AND owner IS NULL AND wake_at < extract(epoch FROM statement_timestamp())::float8
  AND status IN ('running', 'compensating', 'parked')

-- name: doctor_stalled
SELECT count(*), max(stalled) FROM amends.saga
WHERE ns = $1 AND stalled IS NOT NULL AND status IN ('running', 'compensating', 'parked')

-- name: doctor_mail
SELECT count(*), min(created_at) FROM amends.mail WHERE ns = $1 AND answer IS NULL

-- name: doctor_old_transaction
SELECT pid, CAST(usename AS text), application_name, extract(epoch FROM clock_timestamp() - xact_start)::float8
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'
ORDER BY xact_start LIMIT 1

-- Without pg_read_all_stats a role does not see what the sessions of others do, and finds this instead.
-- name: doctor_unseen
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query = '<insufficient privilege>'
