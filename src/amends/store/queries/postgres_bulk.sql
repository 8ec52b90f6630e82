-- The statements of bulk operations on PostgreSQL, by name. Each runs by itself and commits by itself; what is changed
-- beside the row of the bulk operation hangs on that row's guard.

-- name: bulk_add
WITH added AS (
    INSERT INTO amends.bulk (ns, version, key, state, body, created_at, changed_at, runner, lease_until)
    SELECT $1, 1, $2, $3, $4, t.now, t.now, $6, t.now + $7::float8
    FROM (SELECT extract(epoch FROM clock_timestamp())::float8 AS now) AS t
    ON CONFLICT DO NOTHING
    RETURNING number, created_at
)
INSERT INTO amends.bulk_log (bulk, version, at, line) SELECT number, 1, created_at, $5 FROM added

-- name: bulk_get
SELECT key, state, body, version, total, done, refused, failed, created_at, changed_at, runner, lease_until
FROM amends.bulk WHERE ns = $1 AND key = $2

-- name: bulk_newest
SELECT key, state, body, version, total, done, refused, failed, created_at, changed_at, runner, lease_until
FROM amends.bulk
WHERE ns = $1 AND ($2::text IS NULL OR number < (SELECT number FROM amends.bulk WHERE ns = $1 AND key = $2))
ORDER BY number DESC LIMIT $3

-- name: bulk_fill
WITH held AS (
    UPDATE amends.bulk SET lease_until = extract(epoch FROM clock_timestamp()) + $5::float8
    WHERE ns = $1 AND key = $2 AND state = $3 AND runner = $4
    RETURNING number
), filled AS (
    INSERT INTO amends.bulk_target (bulk, n, version, saga)
    SELECT held.number, t.n, t.version, t.saga
    FROM held, unnest($6::int[], $7::text[], $8::int[]) AS t (n, saga, version)
    ON CONFLICT DO NOTHING
)
SELECT count(*) FROM held

-- name: bulk_move
WITH moved AS (
    UPDATE amends.bulk
    SET state = $4, version = version + 1, total = coalesce($6, total),
        changed_at = extract(epoch FROM clock_timestamp())
    WHERE ns = $1 AND key = $2 AND version = $3
    RETURNING number, version, changed_at
), logged AS (
    INSERT INTO amends.bulk_log (bulk, version, at, line) SELECT number, version, changed_at, $5 FROM moved
)
SELECT count(*) FROM moved

-- The oldest that nobody works at, by the partial index; what somebody is about to take is passed over.
-- name: bulk_take
UPDATE amends.bulk SET runner = $3, lease_until = extract(epoch FROM clock_timestamp()) + $4::float8
WHERE number = (
    SELECT number FROM amends.bulk
    WHERE ns = $1 AND state IN ('counting', 'running') AND state = ANY($2::text[])
      AND (runner IS NULL OR lease_until < extract(epoch FROM clock_timestamp()))
    ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING key, state, body, version, total, done, refused, failed, created_at, changed_at, runner, lease_until

-- name: bulk_take_one
UPDATE amends.bulk SET runner = $3, lease_until = extract(epoch FROM clock_timestamp()) + $4::float8
WHERE ns = $1 AND key = $5 AND state = ANY($2::text[])
  AND (runner IS NULL OR lease_until < extract(epoch FROM clock_timestamp()))
RETURNING key, state, body, version, total, done, refused, failed, created_at, changed_at, runner, lease_until

-- Those that somebody has, by the partial index: hardly ever any, and most of them alive.
-- name: bulk_take_left
UPDATE amends.bulk SET runner = $3, lease_until = extract(epoch FROM clock_timestamp()) + $4::float8
WHERE number = (
    SELECT number FROM amends.bulk
    WHERE ns = $1 AND runner IS NOT NULL AND state = ANY($2::text[])
      AND lease_until < extract(epoch FROM clock_timestamp())
    ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING key, state, body, version, total, done, refused, failed, created_at, changed_at, runner, lease_until

-- name: bulk_keep
UPDATE amends.bulk SET lease_until = extract(epoch FROM clock_timestamp()) + $4::float8
WHERE ns = $1 AND key = $2 AND runner = $3
RETURNING 1

-- name: bulk_let_go
UPDATE amends.bulk SET lease_until = NULL, runner = NULL WHERE ns = $1 AND key = $2 AND runner = $3
RETURNING 1

-- name: bulk_record
WITH held AS (
    UPDATE amends.bulk
    SET done = $4, refused = $5, failed = $6, changed_at = extract(epoch FROM clock_timestamp()),
        lease_until = extract(epoch FROM clock_timestamp()) + $7::float8
    WHERE ns = $1 AND key = $2 AND runner = $3
    RETURNING number, changed_at
), recorded AS (
    UPDATE amends.bulk_target t SET word = r.word, detail = r.detail, at = held.changed_at
    FROM held, unnest($8::int[], $9::text[], $10::text[]) AS r (n, word, detail)
    WHERE t.bulk = held.number AND t.n = r.n
)
SELECT count(*) FROM held

-- name: bulk_targets
SELECT n, saga, version, word, detail, at FROM amends.bulk_target
WHERE bulk = (SELECT number FROM amends.bulk WHERE ns = $1 AND key = $2) AND n > $3
  AND ($5::text[] IS NULL OR word = ANY($5::text[]))
ORDER BY n LIMIT $4

-- name: bulk_log
SELECT version, at, line FROM amends.bulk_log
WHERE bulk = (SELECT number FROM amends.bulk WHERE ns = $1 AND key = $2) ORDER BY version

-- name: bulk_old
SELECT number, (SELECT coalesce(max(n), 0) FROM amends.bulk_target WHERE bulk = number) FROM amends.bulk
WHERE ns = $1 AND state = ANY($2::text[]) AND changed_at < $3::float8 ORDER BY number LIMIT $4

-- name: bulk_forget_targets
DELETE FROM amends.bulk_target WHERE bulk = $1 AND n > $2 AND n <= $3

-- name: bulk_forget
WITH logs AS (
    DELETE FROM amends.bulk_log WHERE bulk = $1
)
DELETE FROM amends.bulk WHERE number = $1 RETURNING 1
