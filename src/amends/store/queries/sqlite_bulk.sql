-- The statements of bulk operations on SQLite, by name. What writes stands between BEGIN IMMEDIATE and COMMIT.

-- name: bulk_add
INSERT INTO amends_bulk (ns, key, state, body, version, created_at, changed_at, runner, lease_until)
VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5, ?6, ?7)
ON CONFLICT DO NOTHING

-- name: bulk_log_add
INSERT INTO amends_bulk_log (bulk, version, at, line) SELECT number, version, ?3, ?4 FROM amends_bulk WHERE ns = ?1 AND key = ?2

-- name: bulk_get
SELECT key, state, body, version, total, done, refused, failed, created_at, changed_at, runner, lease_until
FROM amends_bulk WHERE ns = ? AND key = ?

-- name: bulk_newest
SELECT key, state, body, version, total, done, refused, failed, created_at, changed_at, runner, lease_until
FROM amends_bulk
WHERE ns = ?1 AND (?2 IS NULL OR number < (SELECT number FROM amends_bulk WHERE ns = ?1 AND key = ?2))
ORDER BY number DESC LIMIT ?3

-- name: bulk_hold
UPDATE amends_bulk SET lease_until = ?5 WHERE ns = ?1 AND key = ?2 AND state = ?3 AND runner = ?4

-- name: bulk_target_add
INSERT INTO amends_bulk_target (bulk, n, saga, version)
SELECT number, ?3, ?4, ?5 FROM amends_bulk WHERE ns = ?1 AND key = ?2
ON CONFLICT DO NOTHING

-- name: bulk_move
UPDATE amends_bulk SET state = ?4, version = version + 1, changed_at = ?5, total = coalesce(?6, total)
WHERE ns = ?1 AND key = ?2 AND version = ?3

-- The oldest that nobody works at, by the partial index.
-- name: bulk_free
SELECT key FROM amends_bulk
WHERE ns = ?1 AND state IN ('counting', 'running') AND state IN (SELECT value FROM json_each(?2))
  AND (runner IS NULL OR lease_until < ?3)
ORDER BY number LIMIT 1

-- name: bulk_free_one
SELECT key FROM amends_bulk
WHERE ns = ?1 AND key = ?4 AND state IN (SELECT value FROM json_each(?2)) AND (runner IS NULL OR lease_until < ?3)

-- Those that somebody has, by the partial index: hardly ever any, and most of them alive.
-- name: bulk_left
SELECT key FROM amends_bulk
WHERE ns = ?1 AND runner IS NOT NULL AND state IN (SELECT value FROM json_each(?2)) AND lease_until < ?3
ORDER BY number LIMIT 1

-- name: bulk_own
UPDATE amends_bulk SET runner = ?3, lease_until = ?4 WHERE ns = ?1 AND key = ?2

-- name: bulk_keep
UPDATE amends_bulk SET lease_until = ?4 WHERE ns = ?1 AND key = ?2 AND runner = ?3

-- name: bulk_let_go
UPDATE amends_bulk SET lease_until = NULL, runner = NULL WHERE ns = ?1 AND key = ?2 AND runner = ?3

-- name: bulk_count
UPDATE amends_bulk SET done = ?4, refused = ?5, failed = ?6, changed_at = ?7, lease_until = ?8
WHERE ns = ?1 AND key = ?2 AND runner = ?3

-- name: bulk_record
UPDATE amends_bulk_target SET word = ?4, detail = ?5, at = ?6
WHERE bulk = (SELECT number FROM amends_bulk WHERE ns = ?1 AND key = ?2) AND n = ?3

-- name: bulk_targets
SELECT n, saga, version, word, detail, at FROM amends_bulk_target
WHERE bulk = (SELECT number FROM amends_bulk WHERE ns = ?1 AND key = ?2) AND n > ?3
  AND (?5 IS NULL OR word IN (SELECT value FROM json_each(?5)))
ORDER BY n LIMIT ?4

-- name: bulk_log
SELECT version, at, line FROM amends_bulk_log
WHERE bulk = (SELECT number FROM amends_bulk WHERE ns = ? AND key = ?) ORDER BY version

-- name: bulk_old
SELECT number, (SELECT coalesce(max(n), 0) FROM amends_bulk_target WHERE bulk = number) FROM amends_bulk
WHERE ns = ?1 AND state IN (SELECT value FROM json_each(?2)) AND changed_at < ?3 ORDER BY number LIMIT ?4

-- name: bulk_forget_targets
DELETE FROM amends_bulk_target WHERE bulk = ?1 AND n > ?2 AND n <= ?3

-- name: bulk_forget_log
DELETE FROM amends_bulk_log WHERE bulk = ?

-- name: bulk_forget
DELETE FROM amends_bulk WHERE number = ?
