-- The barrier of transactional steps. All of it runs in the step's own IMMEDIATE transaction.

-- name: rounds
SELECT round, action, compensated, missing, result, reason, command FROM amends_inbox
WHERE ns = ? AND saga = ? AND address = ?

-- name: keep
INSERT INTO amends_inbox (ns, saga, address, round, action, compensated, missing, result, reason, command, at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (ns, saga, address, round) DO UPDATE SET
    action = excluded.action, compensated = excluded.compensated, missing = excluded.missing,
    result = excluded.result, reason = excluded.reason, command = excluded.command, at = excluded.at

-- name: newest
SELECT max(at) FROM amends_inbox WHERE ns = ? AND saga = ?

-- name: forget
DELETE FROM amends_inbox WHERE ns = ? AND saga = ?
