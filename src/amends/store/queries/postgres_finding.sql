-- The statements of the PostgreSQL store by which people find sagas, by name.
--
-- Parameters of all that search: $1 namespace, $2 and $3 the ids between which, $4 statuses, $5 plans, $6 fingerprints,
-- $7 steps, $8 how the id begins, $9 assigned, $10 only in trouble, $11 to $13 instants, $14 how many are given. What
-- narrows nothing is NULL. OFFSET 0 and CASE are fences: what stands in one of the small indexes is taken from there, and
-- never looked for along the primary key, because few are wanted or a part of the ids looks small.

-- Along the primary key, newest first, down to an id that bounds the stretch.
-- name: search_all
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends.saga
WHERE ns = $1 AND id < $2::uuid AND id > $3::uuid
  AND ($4::text[] IS NULL OR status = ANY($4)) AND ($5::int[] IS NULL OR plan = ANY($5))
  AND ($6::text[] IS NULL OR fingerprint = ANY($6)) AND ($7::text[] IS NULL OR step = ANY($7))
  AND ($8::text IS NULL OR starts_with(key, $8)) AND ($9::text IS NULL OR coalesce(assigned, '') = $9)
  AND (NOT $10::boolean OR stuck IS NOT NULL OR stalled IS NOT NULL)
  AND ($11::float8 IS NULL OR created_at >= $11) AND ($12::float8 IS NULL OR created_at < $12)
  AND ($13::float8 IS NULL OR updated_at < $13)
ORDER BY id DESC LIMIT $14

-- Where a stretch of the primary key ends.
-- name: end_of_all
SELECT id, key FROM amends.saga
WHERE ns = $1 AND id < $2::uuid AND id > $3::uuid ORDER BY id DESC LIMIT 1 OFFSET $4::int - 1

-- name: search_open
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM (SELECT * FROM amends.saga
      WHERE ns = $1 AND CASE WHEN id < $2::uuid AND id > $3::uuid THEN true END
        AND status IN ('running', 'compensating', 'parked')
        AND ($4::text[] IS NULL OR status = ANY($4)) AND ($5::int[] IS NULL OR plan = ANY($5))
        AND ($6::text[] IS NULL OR fingerprint = ANY($6)) AND ($7::text[] IS NULL OR step = ANY($7))
        AND ($8::text IS NULL OR starts_with(key, $8)) AND ($9::text IS NULL OR coalesce(assigned, '') = $9)
        AND (NOT $10::boolean OR stuck IS NOT NULL OR stalled IS NOT NULL)
        AND ($11::float8 IS NULL OR created_at >= $11) AND ($12::float8 IS NULL OR created_at < $12)
        AND ($13::float8 IS NULL OR updated_at < $13)
      OFFSET 0) AS s
ORDER BY id DESC LIMIT $14

-- name: search_trouble
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM (SELECT * FROM amends.saga
      WHERE ns = $1 AND CASE WHEN id < $2::uuid AND id > $3::uuid THEN true END
        AND (stuck IS NOT NULL OR stalled IS NOT NULL)
        AND ($4::text[] IS NULL OR status = ANY($4)) AND ($5::int[] IS NULL OR plan = ANY($5))
        AND ($6::text[] IS NULL OR fingerprint = ANY($6)) AND ($7::text[] IS NULL OR step = ANY($7))
        AND ($8::text IS NULL OR starts_with(key, $8)) AND ($9::text IS NULL OR coalesce(assigned, '') = $9)
        AND (NOT $10::boolean OR stuck IS NOT NULL OR stalled IS NOT NULL)
        AND ($11::float8 IS NULL OR created_at >= $11) AND ($12::float8 IS NULL OR created_at < $12)
        AND ($13::float8 IS NULL OR updated_at < $13)
      OFFSET 0) AS s
ORDER BY id DESC LIMIT $14

-- name: search_wrong
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM (SELECT * FROM amends.saga
      WHERE ns = $1 AND CASE WHEN id < $2::uuid AND id > $3::uuid THEN true END
        AND fingerprint IS NOT NULL AND status IN ('running', 'compensating', 'parked')
        AND ($4::text[] IS NULL OR status = ANY($4)) AND ($5::int[] IS NULL OR plan = ANY($5))
        AND ($6::text[] IS NULL OR fingerprint = ANY($6)) AND ($7::text[] IS NULL OR step = ANY($7))
        AND ($8::text IS NULL OR starts_with(key, $8)) AND ($9::text IS NULL OR coalesce(assigned, '') = $9)
        AND (NOT $10::boolean OR stuck IS NOT NULL OR stalled IS NOT NULL)
        AND ($11::float8 IS NULL OR created_at >= $11) AND ($12::float8 IS NULL OR created_at < $12)
        AND ($13::float8 IS NULL OR updated_at < $13)
      OFFSET 0) AS s
ORDER BY id DESC LIMIT $14

-- name: groups
SELECT fingerprint, count(*), min(updated_at), max(updated_at), max(CAST(id AS text))
FROM (SELECT * FROM amends.saga
      WHERE ns = $1 AND CASE WHEN id < $2::uuid AND id > $3::uuid THEN true END
        AND fingerprint IS NOT NULL AND status IN ('running', 'compensating', 'parked')
        AND ($4::text[] IS NULL OR status = ANY($4)) AND ($5::int[] IS NULL OR plan = ANY($5))
        AND ($6::text[] IS NULL OR fingerprint = ANY($6)) AND ($7::text[] IS NULL OR step = ANY($7))
        AND ($8::text IS NULL OR starts_with(key, $8)) AND ($9::text IS NULL OR coalesce(assigned, '') = $9)
        AND (NOT $10::boolean OR stuck IS NOT NULL OR stalled IS NOT NULL)
        AND ($11::float8 IS NULL OR created_at >= $11) AND ($12::float8 IS NULL OR created_at < $12)
        AND ($13::float8 IS NULL OR updated_at < $13)
      OFFSET 0) AS s
GROUP BY fingerprint ORDER BY count(*) DESC, fingerprint COLLATE "C" LIMIT $14

-- name: heads_by_id
SELECT s.id, s.key, s.plan, s.status, s.owner, s.epoch, s.wake_at, s.created_at, s.updated_at, s.stuck, s.reason,
       s.stalled, s.input_hash, s.assigned, s.note, s.fingerprint, s.step
FROM (SELECT $1::int AS ns, w.* FROM unnest($2::uuid[]) AS w (id) OFFSET 0) AS w
JOIN amends.saga s ON s.ns = w.ns AND s.id = w.id

-- name: beginnings
SELECT j.saga, j.row
FROM (SELECT $1::int AS ns, w.* FROM unnest($2::uuid[]) AS w (id) OFFSET 0) AS w
JOIN amends.journal j ON j.ns = w.ns AND j.saga = w.id AND j.seq = 0

-- name: ended_per_minute
SELECT status, floor((updated_at - $2::float8) / 60)::int, count(*), min(updated_at)
FROM (SELECT status, updated_at FROM amends.saga
      WHERE ns = $1 AND updated_at >= $2::float8 AND status IN ('completed', 'compensated')
      ORDER BY updated_at DESC LIMIT $3) AS s
GROUP BY 1, 2

-- name: started_per_minute
SELECT 'started', floor((created_at - $2::float8) / 60)::int, count(*), min(created_at)
FROM (SELECT created_at FROM amends.saga WHERE ns = $1 AND id > $4::uuid ORDER BY id DESC LIMIT $3) AS s
WHERE created_at >= $2::float8
GROUP BY 1, 2

-- name: parked_per_minute
SELECT 'parked', floor((updated_at - $2::float8) / 60)::int, count(*), min(updated_at)
FROM (SELECT updated_at FROM amends.saga
      WHERE ns = $1 AND fingerprint IS NOT NULL AND status IN ('running', 'compensating', 'parked')
        AND status = 'parked' AND updated_at >= $2::float8 LIMIT $3) AS s
GROUP BY 1, 2

-- name: troubled
SELECT CASE WHEN stalled IS NOT NULL THEN 'stalled' WHEN status = 'parked' THEN 'parked' ELSE 'stuck' END, count(*)
FROM amends.saga
WHERE ns = $1 AND (stuck IS NOT NULL OR stalled IS NOT NULL) AND status IN ('running', 'compensating', 'parked')
GROUP BY 1

-- name: due_since
SELECT count(*), min(wake_at)
FROM (SELECT wake_at FROM amends.saga
      WHERE ns = $1 AND owner IS NULL AND wake_at < $2::float8 AND status IN ('running', 'compensating', 'parked')
      ORDER BY wake_at LIMIT $3) AS s

-- name: owned_by_each
SELECT owner, count(*) FROM amends.saga
WHERE ns = $1 AND owner IS NOT NULL AND status IN ('running', 'compensating', 'parked') GROUP BY owner
