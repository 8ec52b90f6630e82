-- The statements of the SQLite store, by name. Every one runs on the one connection of one
-- process; writes stand between BEGIN IMMEDIATE and COMMIT, so what they read cannot change
-- under them.

-- name: schema
SELECT version, floor FROM schema

-- name: namespace_add
INSERT INTO namespace (name) VALUES (?) ON CONFLICT DO NOTHING

-- name: namespace
SELECT id FROM namespace WHERE name = ?

-- name: plan_add
INSERT INTO plan (ns, fingerprint, name, body) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: plan_number
SELECT id FROM plan WHERE ns = ? AND fingerprint = ?

-- name: plans
SELECT id, fingerprint, name, body FROM plan WHERE ns = ? ORDER BY id

-- name: worker_add
INSERT INTO worker (ns, host, pid, plans, started_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)

-- name: worker_renew
UPDATE worker SET expires_at = ?, plans = ? WHERE id = ? AND retired_at IS NULL

-- name: worker_leave
UPDATE worker SET retired_at = coalesce(retired_at, ?1), left_at = ?1, survived = max(survived, ?2) WHERE id = ?3

-- The first guard: no clock in it.
-- name: worker_alive
SELECT plans FROM worker WHERE id = ? AND retired_at IS NULL

-- Whoever holds the lock of the file is the only one alive.
-- name: worker_retire_others
UPDATE worker SET retired_at = ?1 WHERE id <> ?2 AND retired_at IS NULL

-- name: worker_owners
SELECT DISTINCT w.id FROM saga s JOIN worker w ON w.id = s.owner
WHERE s.ns = ? AND s.owner IS NOT NULL AND s.status IN ('running', 'compensating', 'parked')
  AND w.retired_at IS NOT NULL ORDER BY w.id

-- name: worker_tidy
DELETE FROM worker
WHERE retired_at IS NOT NULL AND left_at IS NOT NULL AND left_at < ?
  AND id NOT IN (SELECT owner FROM saga WHERE owner IS NOT NULL AND status IN ('running', 'compensating', 'parked'))

-- name: workers
SELECT id, host, pid, plans, started_at, expires_at, retired_at, survived, left_at
FROM worker WHERE ns = ? ORDER BY id

-- name: saga_add
INSERT INTO saga (ns, id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, input_hash)
VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)

-- The second guard: the row before must be there, this one must not (the primary key says so).
-- name: journal_add
INSERT INTO journal (ns, saga, seq, op, row)
SELECT ?1, ?2, ?3, ?4, ?5
WHERE ?3 = 0 OR EXISTS (SELECT 1 FROM journal WHERE ns = ?1 AND saga = ?2 AND seq = ?3 - 1)

-- name: journal_op
SELECT op FROM journal WHERE ns = ? AND saga = ? AND seq = ?

-- name: saga_change
UPDATE saga SET status = ?, owner = ?, wake_at = ?, stuck = ?, reason = ?, plan = coalesce(?, plan), updated_at = ?
WHERE ns = ? AND id = ?

-- name: mail_answer
UPDATE mail SET taken = 1, answer = ?, detail = ?, answered_at = ?
WHERE ns = ? AND saga = ? AND message = ? AND answer IS NULL

-- name: peek
SELECT EXISTS (SELECT 1 FROM saga WHERE ns = ?1 AND owner IS NULL AND wake_at <= ?2
               AND status IN ('running', 'compensating', 'parked')),
       EXISTS (SELECT 1 FROM mail WHERE ns = ?1 AND answer IS NULL AND taken = 0)

-- What is due, by the partial index; the longest due first.
-- name: claim_due
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash
FROM saga
WHERE ns = ?1 AND owner IS NULL AND wake_at <= ?2
  AND status IN ('running', 'compensating', 'parked')
  AND plan IN (SELECT value FROM json_each(?3))
  AND (stalled IS NULL OR plan IN (SELECT value FROM json_each(?4)))
ORDER BY wake_at LIMIT ?5

-- Waiting and parked sagas with mail; there is little mail at any time.
-- name: claim_mailed
SELECT DISTINCT s.id, s.key, s.plan, s.status, s.owner, s.epoch, s.wake_at, s.created_at, s.updated_at,
       s.stuck, s.reason, s.stalled, s.input_hash
FROM mail m JOIN saga s ON s.ns = m.ns AND s.id = m.saga
WHERE m.ns = ?1 AND m.answer IS NULL AND m.taken = 0 AND s.owner IS NULL
  AND s.status IN ('running', 'compensating', 'parked')
  AND s.plan IN (SELECT value FROM json_each(?2))
  AND (s.stalled IS NULL OR s.plan IN (SELECT value FROM json_each(?3)))
LIMIT ?4

-- name: owned_by
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash
FROM saga WHERE ns = ?2 AND owner = ?1 AND status IN ('running', 'compensating', 'parked') LIMIT ?3

-- name: saga_own
UPDATE saga SET owner = ?, epoch = epoch + 1, stalled = NULL WHERE ns = ? AND id = ?

-- name: journal_rows
SELECT row FROM journal WHERE ns = ? AND saga = ? ORDER BY seq

-- name: saga_stall
UPDATE saga SET owner = NULL, stalled = ?1, wake_at = ?2, updated_at = ?2 WHERE ns = ?3 AND id = ?4 AND owner = ?5

-- name: saga_release
UPDATE saga SET owner = NULL, wake_at = ? WHERE ns = ? AND id = ? AND owner = ?

-- name: saga_unstall
UPDATE saga SET stalled = NULL WHERE ns = ? AND stalled IS NOT NULL AND plan IN (SELECT value FROM json_each(?))

-- name: mail_owned
SELECT m.id, m.saga, m.message, m.kind, m.body, m.created_at, m.answer, m.detail, m.answered_at
FROM mail m JOIN saga s ON s.ns = m.ns AND s.id = m.saga
WHERE m.ns = ? AND m.answer IS NULL AND m.taken = 0 AND s.owner = ? ORDER BY m.id

-- name: mail_answer_ended
UPDATE mail SET answer = 'too late', answered_at = ?1,
    detail = 'the saga is ' || (SELECT status FROM saga s WHERE s.ns = mail.ns AND s.id = mail.saga)
WHERE id IN (
    SELECT m.id FROM mail m JOIN saga s ON s.ns = m.ns AND s.id = m.saga
    WHERE m.ns = ?2 AND m.answer IS NULL AND s.status IN ('completed', 'compensated') LIMIT ?3)

-- name: mail_add
INSERT INTO mail (ns, saga, message, kind, body, created_at)
SELECT ns, id, ?3, ?4, ?5, ?6 FROM saga WHERE ns = ?1 AND key = ?2
ON CONFLICT DO NOTHING

-- name: mail_sent
SELECT m.id, m.saga, m.message, m.kind, m.body, m.created_at, m.answer, m.detail, m.answered_at
FROM mail m JOIN saga s ON s.ns = m.ns AND s.id = m.saga
WHERE s.ns = ? AND s.key = ? AND m.message = ?

-- name: mail_of
SELECT id, saga, message, kind, body, created_at, answer, detail, answered_at
FROM mail WHERE ns = ? AND saga = ? ORDER BY id

-- name: head
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash
FROM saga WHERE ns = ? AND key = ?

-- name: find
SELECT id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, reason, stalled, input_hash
FROM saga
WHERE ns = ?1
  AND (?2 IS NULL OR status IN (SELECT value FROM json_each(?2)))
  AND (?3 IS NULL OR plan IN (SELECT value FROM json_each(?3)))
  AND (?4 = 0 OR stuck IS NOT NULL OR stalled IS NOT NULL)
  AND (?5 IS NULL OR id < ?5)
ORDER BY id DESC LIMIT ?6

-- name: count
SELECT plan, status, count(*) FROM saga WHERE ns = ? GROUP BY plan, status

-- name: prunable
SELECT id FROM saga WHERE ns = ? AND status IN ('completed', 'compensated') AND updated_at < ? LIMIT ?

-- name: prune_journal
DELETE FROM journal WHERE ns = ? AND saga = ?

-- name: prune_mail
DELETE FROM mail WHERE ns = ? AND saga = ?

-- name: prune_saga
DELETE FROM saga WHERE ns = ? AND id = ?

-- name: doctor_lag
SELECT count(*), min(wake_at) FROM saga
WHERE ns = ? AND owner IS NULL AND wake_at < ? AND status IN ('running', 'compensating', 'parked')

-- name: doctor_mail
SELECT count(*), min(created_at) FROM mail WHERE ns = ? AND answer IS NULL
