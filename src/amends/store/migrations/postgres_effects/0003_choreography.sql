-- What choreographed sagas need: what each service has in hand or has passed on, and the sagas that began here.

ALTER TABLE amends.outbox ADD COLUMN destination text NOT NULL DEFAULT '';  -- the service whose queue it goes to; '' is the own topic

-- `stand`: passed, waiting, parked, unknown-plan or ended. `history`: the saga's rows, with those that were added here.
CREATE TABLE amends.hop (
    saga        uuid NOT NULL,
    address     text NOT NULL,
    phase       text NOT NULL,
    round       integer NOT NULL,
    service     text NOT NULL,
    stand       text NOT NULL,
    due         double precision,                      -- of one that waits: when it goes on
    key         text NOT NULL,
    plan        text NOT NULL,
    fingerprint text NOT NULL,
    home        text NOT NULL,
    marks       text NOT NULL DEFAULT '',  -- those that were met, with commas
    length      integer NOT NULL,                      -- rows of the history
    history     text NOT NULL,                         -- JSON
    at          double precision NOT NULL,
    PRIMARY KEY (saga, service, address, phase, round)
);
CREATE INDEX hop_due ON amends.hop (service, due) WHERE due IS NOT NULL;

-- `stand`: open, ended, parked or unknown-plan. `way`: all that a home needs of the plan, which it may not know any more.
-- `due`: of one that has not ended, whether it moves or rests: when its first baton goes out again; of one that has: when
-- its services are told so again, unless all of them were reached.
CREATE TABLE amends.home (
    saga        uuid NOT NULL PRIMARY KEY,
    service     text NOT NULL,
    key         text NOT NULL,
    plan        text NOT NULL,
    fingerprint text NOT NULL,
    stand       text NOT NULL DEFAULT 'open',
    way         text NOT NULL,                         -- JSON: where its first baton goes, and its services
    seconds     double precision NOT NULL,             -- of silence, until its first baton goes out again
    first       text NOT NULL,                         -- JSON: the history that the first baton carries
    history     text NOT NULL,                         -- JSON: as it was told last
    length      integer NOT NULL,                      -- so many rows it has at least; `history` may be behind
    marks       text NOT NULL DEFAULT '',              -- those that were met before it was told last, with commas
    tries       integer NOT NULL DEFAULT 0,
    due         double precision,
    at          double precision NOT NULL,
    UNIQUE (service, key)
);
CREATE INDEX home_due ON amends.home (service, due) WHERE due IS NOT NULL;
CREATE INDEX home_ended ON amends.home (service, at) WHERE stand = 'ended';

-- What somebody wants of a saga: at its home until it is answered, and in each of its services, for whoever comes to hold
-- the saga. `word`: the answer, at its home and where it was given; '' until there is one.
CREATE TABLE amends.mark (
    saga        uuid NOT NULL,
    service     text NOT NULL,
    id          text NOT NULL,
    at_home     boolean NOT NULL,
    verb        text NOT NULL,
    address     text NOT NULL,
    actor       text NOT NULL,
    reason      text NOT NULL,
    result      text,
    word        text NOT NULL DEFAULT '',
    detail      text NOT NULL DEFAULT '',
    length      integer NOT NULL DEFAULT 0,  -- of the answer: so many rows the history had when it was given
    due         double precision,
    at          double precision NOT NULL,
    PRIMARY KEY (saga, service, id, at_home)
);
CREATE INDEX mark_due ON amends.mark (service, due) WHERE due IS NOT NULL;

UPDATE amends.inbox_version SET version = 3;
