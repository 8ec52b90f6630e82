-- Everything amends needs on one SQLite file.
--
-- `ns` is the number of a namespace and part of every key. A saga's `id` is its internal id
-- (a UUIDv7: rows of sagas started together lie together), its `key` the user's. The names begin
-- with `amends_`, because the file may well be the user's own, with tables of its own.
-- The journal is the truth; the head (`saga`) is for finding: it changes when status, owner or
-- wake-up change, never for a step that just goes on.

CREATE TABLE amends_schema (
    version INTEGER NOT NULL,          -- the last migration that was applied
    floor   INTEGER NOT NULL           -- the oldest code (its newest migration) that may still use it
);

CREATE TABLE amends_namespace (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE amends_plan (
    id          INTEGER PRIMARY KEY,
    ns          INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    name        TEXT NOT NULL,
    body        TEXT NOT NULL,
    UNIQUE (ns, fingerprint)
);

CREATE TABLE amends_worker (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice
    ns         INTEGER NOT NULL,
    host       TEXT NOT NULL,
    pid        INTEGER NOT NULL,
    plans      TEXT NOT NULL,                      -- JSON: the numbers of the plans it can run
    started_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    retired_at REAL,                               -- once set, it writes nothing any more
    survived   INTEGER NOT NULL DEFAULT 0,         -- it was retired, and had not died
    left_at    REAL                                -- it went by itself
);

CREATE TABLE amends_saga (
    ns         INTEGER NOT NULL,
    id         BLOB NOT NULL,
    key        TEXT NOT NULL,
    plan       INTEGER NOT NULL,
    status     TEXT NOT NULL,
    owner      INTEGER,
    epoch      INTEGER NOT NULL,
    wake_at    REAL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    stuck      TEXT,
    reason     TEXT,
    stalled    TEXT,
    input_hash BLOB NOT NULL,
    parent     BLOB,                               -- the saga it is nested in
    waiting    TEXT,                               -- what it waits for before its first step
    PRIMARY KEY (ns, id)
) WITHOUT ROWID;

CREATE UNIQUE INDEX amends_saga_key ON amends_saga (ns, key);
-- One index finds all that is open: due (owner NULL, by wake_at), owned, or waiting; with plan
-- and status in it, it also counts and lists them. Every index more is a page more in every commit.
CREATE INDEX amends_saga_open ON amends_saga (ns, owner, wake_at, plan, status)
    WHERE status IN ('running', 'compensating', 'parked');
CREATE INDEX amends_saga_trouble ON amends_saga (ns, id) WHERE stuck IS NOT NULL OR stalled IS NOT NULL;

CREATE TABLE amends_journal (
    ns   INTEGER NOT NULL,
    saga BLOB NOT NULL,
    seq  INTEGER NOT NULL,
    op   INTEGER NOT NULL,                         -- tells a repeated commit from another's
    row  TEXT NOT NULL,                            -- JSON
    PRIMARY KEY (ns, saga, seq)
) WITHOUT ROWID;

CREATE TABLE amends_mail (
    id          INTEGER PRIMARY KEY,
    ns          INTEGER NOT NULL,
    saga        BLOB NOT NULL,
    message     TEXT NOT NULL,
    kind        TEXT NOT NULL,
    body        TEXT NOT NULL,                     -- JSON
    created_at  REAL NOT NULL,
    taken       INTEGER NOT NULL DEFAULT 0,        -- a decision knows of it, the answer comes later
    answer      TEXT,
    detail      TEXT,
    answered_at REAL,
    UNIQUE (ns, saga, message)
);

CREATE INDEX amends_mail_open ON amends_mail (ns, saga) WHERE answer IS NULL;

INSERT INTO amends_schema (version, floor) VALUES (1, 1);
