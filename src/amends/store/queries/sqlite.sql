-- The statements of the SQLite store, by name. Every one runs on the one connection of one
-- process; writes stand between BEGIN IMMEDIATE and COMMIT, so what they read cannot change
-- under them.

-- name: schema
SELECT version, floor FROM amends_schema

-- name: namespace_add
INSERT INTO amends_namespace (name) VALUES (?) ON CONFLICT DO NOTHING

-- name: namespace
SELECT id FROM amends_namespace WHERE name = ?

-- name: plan_add
INSERT INTO amends_plan (ns, fingerprint, name, body) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: plan_number
SELECT id FROM amends_plan WHERE ns = ? AND fingerprint = ?

-- name: plans
SELECT id, fingerprint, name, body FROM amends_plan WHERE ns = ? ORDER BY id

-- name: token_keys
SELECT number, name, secret FROM amends_token_key WHERE ns = ? ORDER BY number DESC

-- name: token_key_add
INSERT INTO amends_token_key (ns, number, name, secret)
SELECT ?1, coalesce(max(number), 0) + 1, coalesce(min(name), ?2), ?3 FROM amends_token_key WHERE ns = ?1

-- name: token_key_tidy
DELETE FROM amends_token_key WHERE ns = ? AND number <= ?

-- name: worker_add
INSERT INTO amends_worker (ns, host, pid, plans, started_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)

-- name: worker_renew
UPDATE amends_worker SET expires_at = ?, plans = ? WHERE id = ? AND retired_at IS NULL

-- name: worker_leave
UPDATE amends_worker SET retired_at = coalesce(retired_at, ?1), left_at = ?1, survived = max(survived, ?2) WHERE id = ?3

-- The first guard: no clock in it.
-- name: worker_alive
SELECT plans FROM amends_worker WHERE id = ? AND retired_at IS NULL

-- Whoever holds the lock of the file is the only one alive.
-- name: worker_retire_others
UPDATE amends_worker SET retired_at = ?1 WHERE id <> ?2 AND retired_at IS NULL

-- name: worker_owners
SELECT DISTINCT w.id FROM amends_saga s JOIN amends_worker w ON w.id = s.owner
WHERE s.ns = ? AND s.owner IS NOT NULL AND s.status IN ('running', 'compensating', 'parked')
  AND w.retired_at IS NOT NULL ORDER BY w.id

-- A worker that was retired before the oldest open saga began is in nobody's history.
-- name: worker_tidy
DELETE FROM amends_worker
WHERE ns = ?1 AND retired_at < ?2
  AND retired_at < coalesce((SELECT min(created_at) FROM amends_saga INDEXED BY amends_saga_open
                             WHERE ns = ?1 AND status IN ('running', 'compensating', 'parked')), ?2)

-- name: workers
SELECT id, host, pid, plans, started_at, expires_at, retired_at, survived, left_at
FROM amends_worker WHERE ns = ? ORDER BY id

-- name: saga_add
INSERT INTO amends_saga
    (ns, id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, input_hash, fingerprint, step)
VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)

-- The second guard: this row must not be there (the primary key says so) ...
-- name: journal_begin
INSERT INTO amends_journal (ns, saga, seq, op, row) VALUES (?, ?, ?, ?, ?)

-- ... and the row before must: without it the subquery is NULL, which `seq` refuses. (An INSERT
-- that selects from its own table would do the same by way of a temporary table per row.)
-- name: journal_add
INSERT INTO amends_journal (ns, saga, seq, op, row)
VALUES (?1, ?2, (SELECT seq + 1 FROM amends_journal WHERE ns = ?1 AND saga = ?2 AND seq = ?3 - 1), ?4, ?5)

-- name: journal_op
SELECT op FROM amends_journal WHERE ns = ? AND saga = ? AND seq = ?

-- name: saga_change
UPDATE amends_saga
SET status = ?, owner = ?, wake_at = ?, stuck = ?, reason = ?, plan = coalesce(?, plan), assigned = ?, note = ?,
    fingerprint = ?, step = ?, updated_at = ?
WHERE ns = ? AND id = ?

-- name: mail_answer
UPDATE amends_mail SET taken = 1, answer = ?, detail = ?, answered_at = ?
WHERE ns = ? AND saga = ? AND message = ? AND answer IS NULL

-- name: peek
SELECT EXISTS (SELECT 1 FROM amends_saga WHERE ns = ?1 AND owner IS NULL AND wake_at <= ?2
               AND status IN ('running', 'compensating', 'parked')),
       EXISTS (SELECT 1 FROM amends_mail WHERE ns = ?1 AND answer IS NULL AND taken = 0)

-- What is due, by the partial index; the longest due first. A stalled saga has no wake-up.
-- name: claim_due
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends_saga
WHERE ns = ?1 AND owner IS NULL AND wake_at <= ?2
  AND status IN ('running', 'compensating', 'parked')
  AND plan IN (SELECT value FROM json_each(?3))
ORDER BY wake_at LIMIT ?4

-- What was due long ago and nobody took, by the same index.
-- name: overdue
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends_saga INDEXED BY amends_saga_open
WHERE ns = ?1 AND owner IS NULL AND wake_at <= ?2 AND status IN ('running', 'compensating', 'parked')
ORDER BY wake_at LIMIT ?3

-- Waiting and parked sagas with mail, beside those that are due anyhow; there is little mail
-- at any time.
-- name: claim_mailed
SELECT DISTINCT s.id, s.key, s.plan, s.status, s.owner, s.epoch, s.wake_at, s.created_at, s.updated_at,
       s.stuck, s.reason, s.stalled, s.input_hash, s.assigned, s.note, s.fingerprint, s.step
FROM amends_mail m JOIN amends_saga s ON s.ns = m.ns AND s.id = m.saga
WHERE m.ns = ?1 AND m.answer IS NULL AND m.taken = 0 AND s.owner IS NULL
  AND s.status IN ('running', 'compensating', 'parked')
  AND (s.wake_at IS NULL OR s.wake_at > ?2)
  AND s.plan IN (SELECT value FROM json_each(?3))
  AND s.stalled IS NULL
LIMIT ?4

-- Stalled sagas of plans that the worker runs: another worker could not.
-- name: claim_stalled
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends_saga INDEXED BY amends_saga_trouble
WHERE ns = ?1 AND stalled IS NOT NULL AND owner IS NULL
  AND status IN ('running', 'compensating', 'parked')
  AND plan IN (SELECT value FROM json_each(?2))
LIMIT ?3

-- name: owned_by
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends_saga INDEXED BY amends_saga_open
WHERE ns = ?2 AND owner = ?1 AND status IN ('running', 'compensating', 'parked') LIMIT ?3

-- As above, but for those that are stalled and that the worker cannot run either.
-- name: adoptable
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends_saga INDEXED BY amends_saga_open
WHERE ns = ?2 AND owner = ?1 AND status IN ('running', 'compensating', 'parked')
  AND (stalled IS NULL OR plan IN (SELECT value FROM json_each(?4))) LIMIT ?3

-- name: saga_own
UPDATE amends_saga SET owner = ?, epoch = epoch + 1, stalled = NULL WHERE ns = ? AND id = ?

-- name: journal_rows
SELECT row FROM amends_journal WHERE ns = ? AND saga = ? ORDER BY seq

-- How many rows a journal has: a lookup of the last one.
-- name: length
SELECT seq + 1 FROM amends_journal WHERE ns = ? AND saga = ? ORDER BY seq DESC LIMIT 1

-- No wake-up: a saga that nobody here can run is not due, or every look would find it. One that was
-- taken over falls back to the retired worker whose attempts are not settled.
-- name: saga_stall
UPDATE amends_saga SET owner = ?6, stalled = ?1, wake_at = NULL, updated_at = ?2
WHERE ns = ?3 AND id = ?4 AND owner = ?5

-- name: saga_release
UPDATE amends_saga SET owner = NULL, wake_at = ? WHERE ns = ? AND id = ? AND owner = ?

-- name: saga_unstall
UPDATE amends_saga SET stalled = NULL, wake_at = ?1
WHERE ns = ?2 AND id IN (SELECT id FROM amends_saga INDEXED BY amends_saga_trouble
                         WHERE ns = ?2 AND stalled IS NOT NULL AND plan IN (SELECT value FROM json_each(?3)))

-- name: saga_rouse
UPDATE amends_saga SET wake_at = ?1
WHERE ns = ?2 AND id IN (SELECT id FROM amends_saga INDEXED BY amends_saga_open
                         WHERE ns = ?2 AND owner IS NULL AND (wake_at IS NULL OR wake_at > ?1)
                           AND status IN ('running', 'compensating', 'parked')
                           AND plan IN (SELECT value FROM json_each(?3)))
  AND status IN ('running', 'compensating') AND stalled IS NULL

-- name: mail_owned
SELECT m.id, m.saga, m.message, m.kind, m.body, m.created_at, m.answer, m.detail, m.answered_at
FROM amends_mail m JOIN amends_saga s ON s.ns = m.ns AND s.id = m.saga
WHERE m.ns = ? AND m.answer IS NULL AND m.taken = 0 AND s.owner = ? ORDER BY m.id

-- name: mail_answer_ended
UPDATE amends_mail SET answer = 'too late', answered_at = ?1,
    detail = 'the saga is '
        || (SELECT status FROM amends_saga s WHERE s.ns = amends_mail.ns AND s.id = amends_mail.saga)
WHERE id IN (
    SELECT m.id FROM amends_mail m JOIN amends_saga s ON s.ns = m.ns AND s.id = m.saga
    WHERE m.ns = ?2 AND m.answer IS NULL AND s.status IN ('completed', 'compensated') LIMIT ?3)

-- name: mail_add
INSERT INTO amends_mail (ns, saga, message, kind, body, created_at)
SELECT ns, id, ?3, ?4, ?5, ?6 FROM amends_saga WHERE ns = ?1 AND key = ?2
ON CONFLICT DO NOTHING

-- name: mail_sent
SELECT m.id, m.saga, m.message, m.kind, m.body, m.created_at, m.answer, m.detail, m.answered_at
FROM amends_mail m JOIN amends_saga s ON s.ns = m.ns AND s.id = m.saga
WHERE s.ns = ? AND s.key = ? AND m.message = ?

-- name: mail_of
SELECT id, saga, message, kind, body, created_at, answer, detail, answered_at
FROM amends_mail WHERE ns = ? AND saga = ? ORDER BY id

-- name: head
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends_saga WHERE ns = ? AND key = ?

-- Newest first, along the primary key.
-- name: find
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends_saga
WHERE ns = ?1 AND id < ?2
  AND (?3 IS NULL OR status IN (SELECT value FROM json_each(?3)))
  AND (?4 IS NULL OR plan IN (SELECT value FROM json_each(?4)))
ORDER BY id DESC LIMIT ?5

-- Only open ones: the index has all that the filter asks for, however many have ended.
-- name: find_open
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends_saga
WHERE ns = ?1 AND id IN (
    SELECT id FROM amends_saga INDEXED BY amends_saga_open
    WHERE ns = ?1 AND id < ?2 AND status IN ('running', 'compensating', 'parked')
      AND status IN (SELECT value FROM json_each(?3))
      AND (?4 IS NULL OR plan IN (SELECT value FROM json_each(?4)))
    ORDER BY id DESC LIMIT ?5)
ORDER BY id DESC

-- Only those in trouble; their index is in the order of the primary key.
-- name: find_trouble
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash,
       assigned, note, fingerprint, step
FROM amends_saga INDEXED BY amends_saga_trouble
WHERE ns = ?1 AND id < ?2 AND (stuck IS NOT NULL OR stalled IS NOT NULL)
  AND (?3 IS NULL OR status IN (SELECT value FROM json_each(?3)))
  AND (?4 IS NULL OR plan IN (SELECT value FROM json_each(?4)))
ORDER BY id DESC LIMIT ?5

-- name: count
SELECT plan, status, count(*) FROM amends_saga WHERE ns = ? GROUP BY plan, status

-- name: count_open
SELECT plan, status, count(*) FROM amends_saga INDEXED BY amends_saga_open
WHERE ns = ? AND status IN ('running', 'compensating', 'parked') GROUP BY plan, status

-- Looking for what may be forgotten, a stretch of the primary key at a time: no statement holds
-- up a commit for long. What began later cannot have ended before.
-- name: prunable
SELECT id, status IN ('completed', 'compensated') AND updated_at < ?3
FROM amends_saga WHERE ns = ?1 AND id > ?2 AND id < ?5 ORDER BY id LIMIT ?4

-- name: prune_saga
DELETE FROM amends_saga
WHERE ns = ?1 AND id = ?2 AND status IN ('completed', 'compensated') AND updated_at < ?3

-- name: prune_journal
DELETE FROM amends_journal WHERE ns = ? AND saga = ?

-- name: prune_mail
DELETE FROM amends_mail WHERE ns = ? AND saga = ?

-- name: doctor_lag
SELECT count(*), min(wake_at) FROM amends_saga
WHERE ns = ? AND owner IS NULL AND wake_at < ? AND status IN ('running', 'compensating', 'parked')

-- name: doctor_stalled
SELECT count(*), max(stalled) FROM amends_saga INDEXED BY amends_saga_trouble
WHERE ns = ? AND stalled IS NOT NULL AND status IN ('running', 'compensating', 'parked')

-- name: doctor_mail
SELECT count(*), min(created_at) FROM amends_mail WHERE ns = ? AND answer IS NULL

-- Of what ended the last of an index, and of what is open each: however many have ended.
-- name: doctor_clock
SELECT max(at) FROM (
    SELECT max(updated_at) AS at FROM amends_saga INDEXED BY amends_saga_ended
    WHERE ns = ?1 AND status IN ('completed', 'compensated')
    UNION ALL
    SELECT max(updated_at) FROM amends_saga INDEXED BY amends_saga_open
    WHERE ns = ?1 AND status IN ('running', 'compensating', 'parked'))
