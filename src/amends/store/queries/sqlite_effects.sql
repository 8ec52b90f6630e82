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

-- What follows is the services' own. These statements have the same names, parameters and results as those of
-- postgres_effects.sql; lists are JSON, and the clock is the machine's.

-- name: ended
INSERT INTO amends_inbox_ended (ns, saga, at)
SELECT ?1, amends_bytes(value), (julianday('now') - 2440587.5) * 86400.0 FROM json_each(?2) WHERE true
ON CONFLICT (ns, saga) DO UPDATE SET at = excluded.at
RETURNING 1

-- name: due_inbox
SELECT ns, saga, EXISTS (
    SELECT 1 FROM amends_inbox AS i WHERE i.ns = e.ns AND i.saga = e.saga
        AND i.at >= (julianday('now') - 2440587.5) * 86400.0 - ?1
) FROM amends_inbox_ended AS e
WHERE at < (julianday('now') - 2440587.5) * 86400.0 - ?1 ORDER BY at LIMIT ?2

-- name: put_off_inbox
UPDATE amends_inbox_ended SET at = (julianday('now') - 2440587.5) * 86400.0 WHERE ns = ?1 AND saga = ?2

-- name: clean_ended
DELETE FROM amends_inbox_ended WHERE ns = ?1 AND saga = ?2

-- name: clean_events
DELETE FROM amends_inbox_event WHERE (subscriber, source, id) IN (
    SELECT subscriber, source, id FROM amends_inbox_event
    WHERE at < (julianday('now') - 2440587.5) * 86400.0 - ?1 ORDER BY at LIMIT ?2
)

-- name: clean_hops
DELETE FROM amends_hop WHERE saga = ?1 AND home = ?2

-- name: clean_marks
DELETE FROM amends_mark WHERE saga = ?1 AND NOT at_home

-- name: clean_homes
DELETE FROM amends_home WHERE saga IN (
    SELECT saga FROM amends_home
    WHERE stand = 'ended' AND service = ?3 AND at < (julianday('now') - 2440587.5) * 86400.0 - ?1 LIMIT ?2
)

-- name: clean_home_marks
DELETE FROM amends_mark WHERE at_home AND NOT EXISTS (SELECT 1 FROM amends_home AS h WHERE h.saga = amends_mark.saga)

-- name: clean_outbox
DELETE FROM amends_outbox WHERE number IN (
    SELECT number FROM amends_outbox
    WHERE service = ?3 AND settled < (julianday('now') - 2440587.5) * 86400.0 - ?1 ORDER BY settled LIMIT ?2
)

-- name: clean_deaths
DELETE FROM amends_inbox_death WHERE what IN (
    SELECT what FROM amends_inbox_death WHERE at < (julianday('now') - 2440587.5) * 86400.0 - ?1 LIMIT ?2
)

-- name: look_carefully
SELECT deaths, holder, at, parked FROM amends_inbox_death WHERE what = ?1

-- name: take_carefully
INSERT INTO amends_inbox_death (what, holder, deaths, at) VALUES (?1, ?2, ?3, (julianday('now') - 2440587.5) * 86400.0)
ON CONFLICT (what) DO UPDATE SET holder = excluded.holder, deaths = excluded.deaths, at = excluded.at
WHERE amends_inbox_death.holder = ?4 AND amends_inbox_death.at = ?5
RETURNING what

-- name: begin_first
INSERT INTO amends_inbox_death (what, holder, deaths, at)
SELECT substr(value, 1, 32), substr(value, 33), -1, (julianday('now') - 2440587.5) * 86400.0 FROM json_each(?1) WHERE true
ON CONFLICT (what) DO NOTHING
RETURNING what || holder

-- name: sign_carefully
UPDATE amends_inbox_death SET at = (julianday('now') - 2440587.5) * 86400.0
WHERE (what, holder) IN (SELECT substr(value, 1, 32), substr(value, 33) FROM json_each(?1))
RETURNING what

-- name: end_carefully
DELETE FROM amends_inbox_death
WHERE (what, holder) IN (SELECT substr(value, 1, 32), substr(value, 33) FROM json_each(?1))
RETURNING what || holder

-- name: leave_carefully
UPDATE amends_inbox_death SET holder = ''
WHERE (what, holder) IN (SELECT substr(value, 1, 32), substr(value, 33) FROM json_each(?1))
RETURNING what

-- name: park_carefully
UPDATE amends_inbox_death
SET deaths = 0, holder = '', at = (julianday('now') - 2440587.5) * 86400.0, parked = (julianday('now') - 2440587.5) * 86400.0
WHERE what = ?1 AND holder = ?2
RETURNING what

-- name: event_arrives
INSERT INTO amends_inbox_event (subscriber, source, id, at)
VALUES (?1, ?2, ?3, (julianday('now') - 2440587.5) * 86400.0)
ON CONFLICT DO NOTHING
RETURNING 1

-- name: event_clear
DELETE FROM amends_inbox_event WHERE subscriber = ?1 AND source = ?2 AND id = ?3 RETURNING 1

-- name: publish
INSERT INTO amends_outbox (service, id, type, key, data, attributes, destination, at)
SELECT json_extract(value, '$.service'), json_extract(value, '$.id'), json_extract(value, '$.type'),
    json_extract(value, '$.key'), json_extract(value, '$.data'), json_extract(value, '$.attributes'),
    json_extract(value, '$.destination'), (julianday('now') - 2440587.5) * 86400.0
FROM json_each(?1) ORDER BY json_extract(value, '$.place')
RETURNING number, id

-- name: earlier
SELECT key, number FROM amends_outbox
WHERE service = ?1 AND settled IS NULL AND number < ?3 AND key <> '' AND key IN (SELECT value FROM json_each(?2))
ORDER BY number LIMIT 1000

-- name: look
SELECT number, id, type, key, data, attributes, at, destination FROM amends_outbox
WHERE number IN (SELECT value FROM json_each(?1)) AND settled IS NULL
ORDER BY number

-- name: claim
UPDATE amends_outbox SET claimed = (julianday('now') - 2440587.5) * 86400.0 + ?3
WHERE number IN (
    SELECT number FROM amends_outbox AS o
    WHERE service = ?1 AND settled IS NULL AND at < (julianday('now') - 2440587.5) * 86400.0 - ?2
        AND claimed < (julianday('now') - 2440587.5) * 86400.0
        AND NOT EXISTS (
            SELECT 1 FROM amends_outbox AS e
            WHERE e.service = o.service AND e.key = o.key AND o.key <> '' AND e.key <> '' AND e.settled IS NULL
                AND e.number < o.number
        )
    ORDER BY number LIMIT ?4
)
RETURNING number, id, type, key, data, attributes, at, destination

-- name: settle
UPDATE amends_outbox SET settled = (julianday('now') - 2440587.5) * 86400.0
WHERE number IN (SELECT value FROM json_each(?1)) AND destination = '' AND settled IS NULL
RETURNING number

-- What went to a queue is of no use any more; part of `settle`.
-- name: settle_queued
DELETE FROM amends_outbox
WHERE number IN (SELECT value FROM json_each(?1)) AND destination <> '' AND settled IS NULL
RETURNING number

-- name: republish
UPDATE amends_outbox SET settled = NULL, claimed = 0
WHERE number IN (
    SELECT number FROM amends_outbox WHERE service = ?1 AND at >= ?2 AND settled < ?3 ORDER BY number LIMIT ?4
)
RETURNING 1

-- What is sent with it is written by `publish`, only if this gives a row.
-- name: hop_keep
INSERT INTO amends_hop (saga, address, phase, round, service, stand, due, key, plan, fingerprint, home, marks, length, history, at)
SELECT json_extract(?1, '$.saga'), json_extract(?1, '$.address'), json_extract(?1, '$.phase'), json_extract(?1, '$.round'), json_extract(?1, '$.service'),
    json_extract(?1, '$.stand'), json_extract(?1, '$.due'), json_extract(?1, '$.key'), json_extract(?1, '$.plan'),
    json_extract(?1, '$.fingerprint'), json_extract(?1, '$.home'), json_extract(?1, '$.marks'), json_extract(?1, '$.length'),
    json_extract(?1, '$.history'), (julianday('now') - 2440587.5) * 86400.0
WHERE json_extract(?1, '$.stand') = 'unknown-plan' OR NOT EXISTS (
    SELECT 1 FROM amends_mark AS m
    WHERE m.saga = json_extract(?1, '$.saga') AND m.service = json_extract(?1, '$.service') AND NOT m.at_home
        AND instr(json_extract(?1, '$.marks'), m.id) = 0
)
ON CONFLICT (saga, service, address, phase, round) DO UPDATE SET stand = excluded.stand, due = excluded.due,
    length = excluded.length, history = excluded.history, marks = excluded.marks,
    fingerprint = excluded.fingerprint, at = excluded.at
WHERE amends_hop.length = json_extract(?1, '$.base') OR (amends_hop.length = 0 AND excluded.length > 0)
RETURNING 0, ''

-- name: hop_at
SELECT stand, due, length, history, marks FROM amends_hop
WHERE saga = ?1 AND service = ?2 AND address = ?3 AND phase = ?4 AND round = ?5

-- name: hop_due
UPDATE amends_hop SET due = (julianday('now') - 2440587.5) * 86400.0 + ?3
WHERE (saga, service, address, phase, round) IN (
    SELECT saga, service, address, phase, round FROM amends_hop WHERE service = ?1 AND due <= (julianday('now') - 2440587.5) * 86400.0
    ORDER BY due LIMIT ?2
)
RETURNING saga, key, plan, fingerprint, home, address, phase, round, history, marks, stand, length, due

-- name: hop_held
SELECT saga, key, plan, fingerprint, home, address, phase, round, history, marks, stand, length, due FROM amends_hop
WHERE saga = ?1 AND service = ?2 AND stand IN ('waiting', 'parked')

-- name: mark_keep
INSERT INTO amends_mark (saga, service, id, at_home, verb, address, actor, reason, result, more, due, at)
SELECT json_extract(?1, '$.saga'), json_extract(?1, '$.service'), json_extract(?1, '$.id'), json_extract(?1, '$.at_home'),
    json_extract(?1, '$.verb'), json_extract(?1, '$.address'), json_extract(?1, '$.actor'),
    json_extract(?1, '$.reason'), json_extract(?1, '$.result'), json_extract(?1, '$.more'),
    CASE WHEN json_extract(?1, '$.at_home') THEN (julianday('now') - 2440587.5) * 86400.0 + json_extract(?1, '$.seconds') END, (julianday('now') - 2440587.5) * 86400.0
WHERE true
ON CONFLICT DO NOTHING
RETURNING 1

-- name: marks_of
SELECT id, verb, address, actor, reason, result, more FROM amends_mark WHERE saga = ?1 AND service = ?2 AND NOT at_home
ORDER BY at

-- What was met with it is answered here, only if `hop_keep` gives a row.
-- name: hop_answered
UPDATE amends_mark SET word = json_extract(a.value, '$.word'), detail = json_extract(a.value, '$.detail'),
    length = json_extract(?1, '$.length')
FROM json_each(?1, '$.answers') AS a
WHERE saga = json_extract(?1, '$.saga') AND service = json_extract(?1, '$.service')
    AND amends_mark.id = json_extract(a.value, '$.id') AND NOT at_home

-- One that was kept at its home before.
-- name: mark_at
SELECT id, verb, address, actor, reason, result, more FROM amends_mark
WHERE saga = ?1 AND service = ?2 AND id = ?3 AND at_home

-- name: mark_said
SELECT word, detail, length FROM amends_mark WHERE saga = ?1 AND service = ?2 AND id = ?3 AND NOT at_home AND word <> ''

-- name: mark_answered
UPDATE amends_mark SET word = ?4, detail = ?5, length = ?6, due = NULL
WHERE saga = ?1 AND service = ?2 AND id = ?3 AND at_home AND word = ''
RETURNING 1

-- name: mark_word
SELECT word, detail FROM amends_mark WHERE saga = ?1 AND service = ?2 AND id = ?3 AND at_home

-- name: mark_due
UPDATE amends_mark SET due = (julianday('now') - 2440587.5) * 86400.0 + ?3
WHERE (saga, service, id, at_home) IN (
    SELECT saga, service, id, at_home FROM amends_mark WHERE service = ?1 AND due <= (julianday('now') - 2440587.5) * 86400.0 ORDER BY due LIMIT ?2
)
RETURNING saga, (SELECT key FROM amends_home AS h WHERE h.saga = amends_mark.saga),
    (SELECT plan FROM amends_home AS h WHERE h.saga = amends_mark.saga),
    (SELECT fingerprint FROM amends_home AS h WHERE h.saga = amends_mark.saga),
    (SELECT stand FROM amends_home AS h WHERE h.saga = amends_mark.saga),
    (SELECT marks FROM amends_home AS h WHERE h.saga = amends_mark.saga),
    (SELECT way FROM amends_home AS h WHERE h.saga = amends_mark.saga), id, verb, address, actor, reason, result,
    more

-- It begins with INSERT, or Python's sqlite3 would not begin a transaction for it.
-- name: home_open
INSERT INTO amends_home (saga, service, key, plan, fingerprint, way, seconds, first, history, length, due, at)
SELECT json_extract(h, '$.saga'), json_extract(h, '$.service'), json_extract(h, '$.key'), json_extract(h, '$.plan'),
    json_extract(h, '$.fingerprint'), json_extract(h, '$.way'), json_extract(h, '$.seconds'),
    json_extract(h, '$.history'), json_extract(h, '$.history'),
    json_extract(h, '$.length'), (julianday('now') - 2440587.5) * 86400.0 + json_extract(h, '$.seconds'),
    (julianday('now') - 2440587.5) * 86400.0
FROM (SELECT ?1 AS h) WHERE true
ON CONFLICT DO NOTHING
RETURNING 1

-- name: home_way
SELECT way FROM amends_home WHERE saga = ?1 AND service = ?2

-- Of a service, by the user's id.
-- name: home_at
SELECT saga, plan, fingerprint, stand, first, history FROM amends_home, (SELECT ?1 AS h)
WHERE service = json_extract(h, '$.service') AND key = json_extract(h, '$.key')

-- Of those with these ids, which have ended or are parked.
-- name: home_settled
SELECT key, stand, history FROM amends_home, (SELECT ?1 AS h)
WHERE service = json_extract(h, '$.service') AND key IN (SELECT value FROM json_each(h, '$.keys'))
    AND stand IN ('ended', 'parked')

-- Of a service, newest first: for people. Along the primary key, and so without sorting: a file has few services; with
-- the plus the index of (service, key) is no use.
-- name: home_list
SELECT saga, plan, fingerprint, stand, first, history, key FROM amends_home
WHERE +service = json_extract(?1, '$.service') AND stand IN (SELECT value FROM json_each(?1, '$.stands'))
    AND (json_extract(?1, '$.plans') IS NULL OR plan IN (SELECT value FROM json_each(?1, '$.plans')))
    AND saga < coalesce(json_extract(?1, '$.before'), 'g')
ORDER BY saga DESC LIMIT ?2

-- The same where none that has ended is looked for: the index has the others, in this order.
-- name: home_list_open
SELECT saga, plan, fingerprint, stand, first, history, key FROM amends_home INDEXED BY amends_home_open
WHERE service = json_extract(?1, '$.service') AND stand <> 'ended'
    AND stand IN (SELECT value FROM json_each(?1, '$.stands'))
    AND (json_extract(?1, '$.plans') IS NULL OR plan IN (SELECT value FROM json_each(?1, '$.plans')))
    AND saga < coalesce(json_extract(?1, '$.before'), 'g')
ORDER BY saga DESC LIMIT ?2

-- name: home_marks
SELECT id, verb, address, actor, reason, word, detail, at FROM amends_mark WHERE saga = ?1 AND service = ?2 AND at_home
ORDER BY at

-- name: home_told
UPDATE amends_home SET stand = ?2, length = ?3, history = ?4, marks = ?5,
    due = (julianday('now') - 2440587.5) * 86400.0 + CASE WHEN ?2 = 'ended' THEN ?6 ELSE seconds END,
    at = (julianday('now') - 2440587.5) * 86400.0
WHERE saga = ?1 AND stand <> 'ended' AND (length < ?3 OR (length = ?3 AND stand = 'open'))
RETURNING way

-- name: home_closed
UPDATE amends_home SET due = NULL WHERE saga IN (SELECT value FROM json_each(?1)) AND stand = 'ended'
RETURNING 1

-- With `mark_answered`.
-- name: home_reopen
UPDATE amends_home SET stand = 'open', tries = 0, length = ?6, due = (julianday('now') - 2440587.5) * 86400.0 + seconds
WHERE saga = ?1 AND ?4 = 'accepted' AND stand <> 'ended' AND length < ?6

-- name: home_due
UPDATE amends_home SET tries = tries + 1,
    due = (julianday('now') - 2440587.5) * 86400.0 + min(seconds * (1 << min(tries, 20)), max(seconds, ?3))
WHERE saga IN (SELECT saga FROM amends_home WHERE service = ?1 AND due <= (julianday('now') - 2440587.5) * 86400.0 ORDER BY due LIMIT ?2)
RETURNING saga, key, plan, fingerprint, stand, way, first

-- name: figures
SELECT
    (SELECT count(*) FROM (SELECT 1 FROM amends_inbox LIMIT 100000)),
    (SELECT count(*) FROM (SELECT 1 FROM amends_inbox_ended LIMIT 100000)),
    (SELECT coalesce((julianday('now') - 2440587.5) * 86400.0 - min(at), 0) FROM amends_inbox_ended),
    (SELECT count(*) FROM (SELECT 1 FROM amends_outbox WHERE service = ?1 AND settled IS NULL LIMIT 100000)),
    coalesce((julianday('now') - 2440587.5) * 86400.0 - (
        SELECT at FROM amends_outbox WHERE service = ?1 AND settled IS NULL ORDER BY number LIMIT 1
    ), 0),
    (SELECT count(*) FROM amends_inbox_death WHERE deaths > 0 OR parked > 0)

-- name: version
SELECT version, floor FROM amends_inbox_version

-- name: now
SELECT (julianday('now') - 2440587.5) * 86400.0

-- name: drop
DROP TABLE IF EXISTS amends_inbox;
DROP TABLE IF EXISTS amends_inbox_ended;
DROP TABLE IF EXISTS amends_inbox_event;
DROP TABLE IF EXISTS amends_inbox_death;
DROP TABLE IF EXISTS amends_outbox;
DROP TABLE IF EXISTS amends_hop;
DROP TABLE IF EXISTS amends_home;
DROP TABLE IF EXISTS amends_mark;
DROP TABLE IF EXISTS amends_inbox_version;
