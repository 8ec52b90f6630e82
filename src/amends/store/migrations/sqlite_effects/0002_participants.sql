-- What services need: the command that a compensation is given, which sagas have ended, the events that were
-- handled and those that are to be published, and what may have taken its process down.

CREATE TABLE amends_inbox_version (
    version     INTEGER NOT NULL,                  -- the last migration that was applied; without this table it is 1
    floor       INTEGER NOT NULL                   -- the oldest code (its newest migration) that may still use it
);

ALTER TABLE amends_inbox ADD COLUMN command TEXT;  -- JSON; NULL of a step that is no command

-- The rows of these sagas are deleted after the horizon, unless something has come since.
CREATE TABLE amends_inbox_ended (
    ns          TEXT NOT NULL,
    saga        BLOB NOT NULL,
    at          REAL NOT NULL,
    PRIMARY KEY (ns, saga)
) WITHOUT ROWID;
CREATE INDEX amends_inbox_ended_at ON amends_inbox_ended (at);

CREATE TABLE amends_inbox_event (
    subscriber  TEXT NOT NULL,                     -- the service that handled it
    source      TEXT NOT NULL,
    id          TEXT NOT NULL,
    at          REAL NOT NULL,
    PRIMARY KEY (subscriber, source, id)
) WITHOUT ROWID;
CREATE INDEX amends_inbox_event_at ON amends_inbox_event (at);

-- `claimed`: until when somebody is about to publish it. `settled`: when the broker had confirmed it.
CREATE TABLE amends_outbox (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    service     TEXT NOT NULL,
    id          TEXT NOT NULL,
    type        TEXT NOT NULL,
    key         TEXT NOT NULL DEFAULT '',          -- events with the same one keep their order; '' has none
    data        TEXT NOT NULL,                     -- JSON
    attributes  TEXT NOT NULL DEFAULT '{}',        -- JSON; extensions of the message
    at          REAL NOT NULL,
    claimed     REAL NOT NULL DEFAULT 0,
    settled     REAL
);
CREATE INDEX amends_outbox_open ON amends_outbox (service, number) WHERE settled IS NULL;
CREATE INDEX amends_outbox_open_key ON amends_outbox (service, key, number) WHERE settled IS NULL AND key <> '';
CREATE INDEX amends_outbox_settled ON amends_outbox (service, settled) WHERE settled IS NOT NULL;

-- What was begun carefully and has not come to its end. `deaths`: of those who were at it alone; -1 while the first is
-- at it beside others.
CREATE TABLE amends_inbox_death (
    what        TEXT PRIMARY KEY,
    deaths      INTEGER NOT NULL,
    holder      TEXT NOT NULL,                     -- who is at it; '' is nobody
    at          REAL NOT NULL,                     -- their last sign of life
    parked      REAL NOT NULL DEFAULT 0            -- when it was found to be poison
) WITHOUT ROWID;

INSERT INTO amends_inbox_version (version, floor) VALUES (2, 1);
