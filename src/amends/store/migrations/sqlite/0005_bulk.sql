-- Bulk operations: one act of a person on many sagas, its targets as they were written down, and what happened to it.
-- `runner` is who works at it, under a name that is new each time, until `lease_until`.

CREATE TABLE amends_bulk (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    ns          INTEGER NOT NULL,
    key         TEXT NOT NULL,
    state       TEXT NOT NULL,
    body        TEXT NOT NULL,                     -- JSON: what is to be done
    version     INTEGER NOT NULL,                  -- of the last line of its log
    total       INTEGER NOT NULL DEFAULT 0,
    done        INTEGER NOT NULL DEFAULT 0,
    refused     INTEGER NOT NULL DEFAULT 0,
    failed      INTEGER NOT NULL DEFAULT 0,
    created_at  REAL NOT NULL,
    changed_at  REAL NOT NULL,
    runner      TEXT,
    lease_until REAL,
    UNIQUE (ns, key)
);

-- What somebody is to work at: every worker asks now and then, and there is hardly ever any.
CREATE INDEX amends_bulk_held ON amends_bulk (ns, number) WHERE state IN ('counting', 'running');

-- What somebody has: of those that have ended, what a runner that was killed has left is looked for.
CREATE INDEX amends_bulk_had ON amends_bulk (ns, number) WHERE runner IS NOT NULL;

CREATE TABLE amends_bulk_target (
    bulk    INTEGER NOT NULL,
    n       INTEGER NOT NULL,
    saga    TEXT NOT NULL,                         -- the user's id
    version INTEGER NOT NULL,                      -- of the saga, when it was written down
    word    TEXT NOT NULL DEFAULT '',              -- what became of it
    detail  TEXT NOT NULL DEFAULT '',
    at      REAL,
    PRIMARY KEY (bulk, n)
) WITHOUT ROWID;

CREATE TABLE amends_bulk_log (
    bulk    INTEGER NOT NULL,
    version INTEGER NOT NULL,
    at      REAL NOT NULL,
    line    TEXT NOT NULL,                         -- JSON
    PRIMARY KEY (bulk, version)
) WITHOUT ROWID;

UPDATE amends_schema SET version = 5;
