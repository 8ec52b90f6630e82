-- The barrier of transactional steps, in the database of their effects: one row for both
-- halves of a step in one round.

CREATE TABLE IF NOT EXISTS amends_inbox (
    ns          TEXT NOT NULL,
    saga        BLOB NOT NULL,
    address     TEXT NOT NULL,
    round       INTEGER NOT NULL,
    action      TEXT NOT NULL,                     -- succeeded, rejected, tombstone
    compensated INTEGER NOT NULL DEFAULT 0,
    missing     INTEGER NOT NULL DEFAULT 0,
    result      TEXT,                              -- JSON
    reason      TEXT NOT NULL DEFAULT '',
    at          REAL NOT NULL,
    PRIMARY KEY (ns, saga, address, round)
) WITHOUT ROWID;
