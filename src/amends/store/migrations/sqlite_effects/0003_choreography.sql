-- What choreographed sagas need: what each service has in hand or has passed on, and the sagas that began here.

ALTER TABLE amends_outbox ADD COLUMN destination TEXT NOT NULL DEFAULT '';  -- the service whose queue it goes to; '' is the own topic

-- `stand`: passed, waiting, parked, unknown-plan or ended. `history`: the saga's rows, with those that were added here.
CREATE TABLE amends_hop (
    saga        TEXT NOT NULL,
    address     TEXT NOT NULL,
    phase       TEXT NOT NULL,
    round       INTEGER NOT NULL,
    service     TEXT NOT NULL,
    stand       TEXT NOT NULL,
    due         REAL,                              -- of one that waits: when it goes on
    key         TEXT NOT NULL,
    plan        TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    home        TEXT NOT NULL,
    marks       TEXT NOT NULL DEFAULT '',  -- those that were met, with commas
    length      INTEGER NOT NULL,                  -- rows of the history
    history     TEXT NOT NULL,                     -- JSON
    at          REAL NOT NULL,
    PRIMARY KEY (saga, service, address, phase, round)
) WITHOUT ROWID;
CREATE INDEX amends_hop_due ON amends_hop (service, due) WHERE due IS NOT NULL;

-- `stand`: open, ended, parked or unknown-plan. `way`: all that a home needs of the plan, which it may not know any more.
-- `due`: of one that has not ended, whether it moves or rests: when its first baton goes out again; of one that has: when
-- its services are told so again, unless all of them were reached.
CREATE TABLE amends_home (
    saga        TEXT NOT NULL PRIMARY KEY,
    service     TEXT NOT NULL,
    key         TEXT NOT NULL,
    plan        TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    stand       TEXT NOT NULL DEFAULT 'open',
    way         TEXT NOT NULL,                     -- JSON: where its first baton goes, and its services
    seconds     REAL NOT NULL,                     -- of silence, until its first baton goes out again
    first       TEXT NOT NULL,                     -- JSON: the history that the first baton carries
    history     TEXT NOT NULL,                     -- JSON: as it was told last
    length      INTEGER NOT NULL,                  -- so many rows it has at least; `history` may be behind
    marks       TEXT NOT NULL DEFAULT '',          -- those that were met before it was told last, with commas
    tries       INTEGER NOT NULL DEFAULT 0,
    due         REAL,
    at          REAL NOT NULL,
    UNIQUE (service, key)
) WITHOUT ROWID;
CREATE INDEX amends_home_due ON amends_home (service, due) WHERE due IS NOT NULL;
CREATE INDEX amends_home_ended ON amends_home (service, at) WHERE stand = 'ended';

-- What somebody wants of a saga: at its home until it is answered, and in each of its services, for whoever comes to hold
-- the saga. `word`: the answer, at its home and where it was given; '' until there is one.
CREATE TABLE amends_mark (
    saga        TEXT NOT NULL,
    service     TEXT NOT NULL,
    id          TEXT NOT NULL,
    at_home     INTEGER NOT NULL,
    verb        TEXT NOT NULL,
    address     TEXT NOT NULL,
    actor       TEXT NOT NULL,
    reason      TEXT NOT NULL,
    result      TEXT,
    word        TEXT NOT NULL DEFAULT '',
    detail      TEXT NOT NULL DEFAULT '',
    length      INTEGER NOT NULL DEFAULT 0,  -- of the answer: so many rows the history had when it was given
    due         REAL,
    at          REAL NOT NULL,
    PRIMARY KEY (saga, service, id, at_home)
) WITHOUT ROWID;
CREATE INDEX amends_mark_due ON amends_mark (service, due) WHERE due IS NOT NULL;

UPDATE amends_inbox_version SET version = 3;
