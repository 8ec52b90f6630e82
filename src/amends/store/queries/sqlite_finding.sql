-- The statements of the SQLite store by which people find sagas, by name.
--
-- Parameters of all that search: ?1 namespace, ?2 and ?3 the ids between which, ?4 statuses, ?5 plans, ?6 fingerprints,
-- ?7 steps, ?8 how the id begins, ?9 assigned, ?10 only in trouble, ?11 to ?13 instants, ?14 how many are given,
-- ?15 how many are looked at. Lists are JSON, and what narrows nothing is NULL.

-- Along the primary key, newest first, down to an id that bounds the stretch.
-- name: search_all
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends_saga
WHERE ns = ?1 AND id < ?2 AND id > ?3
  AND (?4 IS NULL OR status IN (SELECT value FROM json_each(?4)))
  AND (?5 IS NULL OR plan IN (SELECT value FROM json_each(?5)))
  AND (?6 IS NULL OR fingerprint IN (SELECT value FROM json_each(?6)))
  AND (?7 IS NULL OR step IN (SELECT value FROM json_each(?7)))
  AND (?8 IS NULL OR substr(key, 1, length(?8)) = ?8)
  AND (?9 IS NULL OR coalesce(assigned, '') = ?9)
  AND (?10 = 0 OR stuck IS NOT NULL OR stalled IS NOT NULL)
  AND (?11 IS NULL OR created_at >= ?11) AND (?12 IS NULL OR created_at < ?12)
  AND (?13 IS NULL OR updated_at < ?13)
ORDER BY id DESC LIMIT ?14

-- Where a stretch of the primary key ends.
-- name: end_of_all
SELECT id, key FROM amends_saga WHERE ns = ?1 AND id < ?2 AND id > ?3 ORDER BY id DESC LIMIT 1 OFFSET ?4 - 1

-- The index says which are open, and of which plan and status; the others are looked up, newest first.
-- name: search_open
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends_saga
WHERE ns = ?1 AND id IN (
    SELECT id FROM amends_saga INDEXED BY amends_saga_open
    WHERE ns = ?1 AND id < ?2 AND id > ?3 AND status IN ('running', 'compensating', 'parked')
      AND status IN (SELECT value FROM json_each(?4))
      AND (?5 IS NULL OR plan IN (SELECT value FROM json_each(?5)))
    ORDER BY id DESC LIMIT ?15)
  AND (?4 IS NULL OR status IN (SELECT value FROM json_each(?4)))
  AND (?5 IS NULL OR plan IN (SELECT value FROM json_each(?5)))
  AND (?6 IS NULL OR fingerprint IN (SELECT value FROM json_each(?6)))
  AND (?7 IS NULL OR step IN (SELECT value FROM json_each(?7)))
  AND (?8 IS NULL OR substr(key, 1, length(?8)) = ?8)
  AND (?9 IS NULL OR coalesce(assigned, '') = ?9)
  AND (?10 = 0 OR stuck IS NOT NULL OR stalled IS NOT NULL)
  AND (?11 IS NULL OR created_at >= ?11) AND (?12 IS NULL OR created_at < ?12)
  AND (?13 IS NULL OR updated_at < ?13)
ORDER BY id DESC LIMIT ?14

-- name: end_of_open
SELECT id, key FROM amends_saga
WHERE ns = ?1 AND id = (
    SELECT id FROM amends_saga INDEXED BY amends_saga_open
    WHERE ns = ?1 AND id < ?2 AND id > ?3 AND status IN ('running', 'compensating', 'parked')
      AND status IN (SELECT value FROM json_each(?5))
      AND (?6 IS NULL OR plan IN (SELECT value FROM json_each(?6)))
    ORDER BY id DESC LIMIT 1 OFFSET ?4 - 1)

-- Their index is in the order of the primary key; few are in it at any time.
-- name: search_trouble
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends_saga INDEXED BY amends_saga_trouble
WHERE ns = ?1 AND id < ?2 AND id > ?3 AND (stuck IS NOT NULL OR stalled IS NOT NULL)
  AND (?4 IS NULL OR status IN (SELECT value FROM json_each(?4)))
  AND (?5 IS NULL OR plan IN (SELECT value FROM json_each(?5)))
  AND (?6 IS NULL OR fingerprint IN (SELECT value FROM json_each(?6)))
  AND (?7 IS NULL OR step IN (SELECT value FROM json_each(?7)))
  AND (?8 IS NULL OR substr(key, 1, length(?8)) = ?8)
  AND (?9 IS NULL OR coalesce(assigned, '') = ?9)
  AND (?10 = 0 OR stuck IS NOT NULL OR stalled IS NOT NULL)
  AND (?11 IS NULL OR created_at >= ?11) AND (?12 IS NULL OR created_at < ?12)
  AND (?13 IS NULL OR updated_at < ?13)
ORDER BY id DESC LIMIT ?14

-- name: search_wrong
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends_saga INDEXED BY amends_saga_wrong
WHERE ns = ?1 AND id < ?2 AND id > ?3 AND fingerprint IS NOT NULL
  AND status IN ('running', 'compensating', 'parked')
  AND (?4 IS NULL OR status IN (SELECT value FROM json_each(?4)))
  AND (?5 IS NULL OR plan IN (SELECT value FROM json_each(?5)))
  AND (?6 IS NULL OR fingerprint IN (SELECT value FROM json_each(?6)))
  AND (?7 IS NULL OR step IN (SELECT value FROM json_each(?7)))
  AND (?8 IS NULL OR substr(key, 1, length(?8)) = ?8)
  AND (?9 IS NULL OR coalesce(assigned, '') = ?9)
  AND (?10 = 0 OR stuck IS NOT NULL OR stalled IS NOT NULL)
  AND (?11 IS NULL OR created_at >= ?11) AND (?12 IS NULL OR created_at < ?12)
  AND (?13 IS NULL OR updated_at < ?13)
ORDER BY id DESC LIMIT ?14

-- The index is entered at each of the fingerprints.
-- name: search_fingerprint
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends_saga INDEXED BY amends_saga_wrong
WHERE ns = ?1 AND fingerprint IN (SELECT value FROM json_each(?6))
  AND id < ?2 AND id > ?3 AND status IN ('running', 'compensating', 'parked')
  AND (?4 IS NULL OR status IN (SELECT value FROM json_each(?4)))
  AND (?5 IS NULL OR plan IN (SELECT value FROM json_each(?5)))
  AND (?6 IS NULL OR fingerprint IN (SELECT value FROM json_each(?6)))
  AND (?7 IS NULL OR step IN (SELECT value FROM json_each(?7)))
  AND (?8 IS NULL OR substr(key, 1, length(?8)) = ?8)
  AND (?9 IS NULL OR coalesce(assigned, '') = ?9)
  AND (?10 = 0 OR stuck IS NOT NULL OR stalled IS NOT NULL)
  AND (?11 IS NULL OR created_at >= ?11) AND (?12 IS NULL OR created_at < ?12)
  AND (?13 IS NULL OR updated_at < ?13)
ORDER BY id DESC LIMIT ?14

-- All that this asks for stands in the index.
-- name: groups
SELECT fingerprint, count(*), min(updated_at), max(updated_at), max(id)
FROM amends_saga INDEXED BY amends_saga_wrong
WHERE ns = ?1 AND fingerprint IS NOT NULL AND status IN ('running', 'compensating', 'parked')
  AND (?2 IS NULL OR status IN (SELECT value FROM json_each(?2)))
  AND (?3 IS NULL OR plan IN (SELECT value FROM json_each(?3)))
GROUP BY fingerprint ORDER BY count(*) DESC, fingerprint LIMIT ?4

-- name: groups_narrow
SELECT fingerprint, count(*), min(updated_at), max(updated_at), max(id)
FROM amends_saga INDEXED BY amends_saga_wrong
WHERE ns = ?1 AND id < ?2 AND id > ?3 AND fingerprint IS NOT NULL
  AND status IN ('running', 'compensating', 'parked')
  AND (?4 IS NULL OR status IN (SELECT value FROM json_each(?4)))
  AND (?5 IS NULL OR plan IN (SELECT value FROM json_each(?5)))
  AND (?6 IS NULL OR fingerprint IN (SELECT value FROM json_each(?6)))
  AND (?7 IS NULL OR step IN (SELECT value FROM json_each(?7)))
  AND (?8 IS NULL OR substr(key, 1, length(?8)) = ?8)
  AND (?9 IS NULL OR coalesce(assigned, '') = ?9)
  AND (?10 = 0 OR stuck IS NOT NULL OR stalled IS NOT NULL)
  AND (?11 IS NULL OR created_at >= ?11) AND (?12 IS NULL OR created_at < ?12)
  AND (?13 IS NULL OR updated_at < ?13)
GROUP BY fingerprint ORDER BY count(*) DESC, fingerprint LIMIT ?14

-- name: head_by_id
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends_saga WHERE ns = ? AND id = ?

-- name: beginning
SELECT row FROM amends_journal WHERE ns = ? AND saga = ? AND seq = 0

-- name: ended_per_minute
SELECT status, CAST((updated_at - ?2) / 60 AS INTEGER), count(*), min(updated_at)
FROM (SELECT status, updated_at FROM amends_saga INDEXED BY amends_saga_ended
      WHERE ns = ?1 AND updated_at >= ?2 AND status IN ('completed', 'compensated') ORDER BY updated_at DESC LIMIT ?3)
GROUP BY 1, 2

-- name: started_per_minute
SELECT 'started', CAST((created_at - ?2) / 60 AS INTEGER), count(*), min(created_at)
FROM (SELECT created_at FROM amends_saga WHERE ns = ?1 AND id > ?4 ORDER BY id DESC LIMIT ?3)
WHERE created_at >= ?2
GROUP BY 1, 2

-- name: parked_per_minute
SELECT 'parked', CAST((updated_at - ?2) / 60 AS INTEGER), count(*), min(updated_at)
FROM (SELECT updated_at FROM amends_saga INDEXED BY amends_saga_wrong
      WHERE ns = ?1 AND fingerprint IS NOT NULL AND status IN ('running', 'compensating', 'parked')
        AND status = 'parked' AND updated_at >= ?2 LIMIT ?3)
GROUP BY 1, 2

-- name: troubled
SELECT CASE WHEN stalled IS NOT NULL THEN 'stalled' WHEN status = 'parked' THEN 'parked' ELSE 'stuck' END, count(*)
FROM amends_saga INDEXED BY amends_saga_trouble
WHERE ns = ? AND (stuck IS NOT NULL OR stalled IS NOT NULL) AND status IN ('running', 'compensating', 'parked')
GROUP BY 1

-- name: due_since
SELECT count(*), min(wake_at)
FROM (SELECT wake_at FROM amends_saga INDEXED BY amends_saga_open
      WHERE ns = ?1 AND owner IS NULL AND wake_at < ?2 AND status IN ('running', 'compensating', 'parked')
      ORDER BY wake_at LIMIT ?3)

-- name: owned_by_each
SELECT owner, count(*) FROM amends_saga INDEXED BY amends_saga_open
WHERE ns = ? AND owner IS NOT NULL AND status IN ('running', 'compensating', 'parked') GROUP BY owner
