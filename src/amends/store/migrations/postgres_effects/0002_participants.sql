-- What services need: the command that a compensation is given, which sagas have ended, the events that were
-- handled and those that are to be published, and what may have taken its process down.

ALTER TABLE amends.inbox ADD COLUMN command text;     -- JSON; NULL of a step that is no command

-- The rows of these sagas are deleted after the horizon, unless something has come since.
CREATE TABLE amends.inbox_ended (
    ns          text NOT NULL,
    saga        uuid NOT NULL,
    at          double precision NOT NULL,
    PRIMARY KEY (saga, ns)
);
CREATE INDEX inbox_ended_at ON amends.inbox_ended (at);

CREATE TABLE amends.inbox_event (
    subscriber  text NOT NULL,                         -- the service that handled it
    source      text NOT NULL,
    id          text NOT NULL,
    at          double precision NOT NULL,
    PRIMARY KEY (subscriber, source, id)
);
CREATE INDEX inbox_event_at ON amends.inbox_event (at);

-- `claimed`: until when somebody is about to publish it. `settled`: when the broker had confirmed it.
CREATE TABLE amends.outbox (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service     text NOT NULL,
    id          text NOT NULL,
    type        text NOT NULL,
    key         text NOT NULL DEFAULT '',              -- events with the same one keep their order; '' has none
    data        text NOT NULL,                         -- JSON
    attributes  text NOT NULL DEFAULT '{}',            -- JSON; extensions of the message
    at          double precision NOT NULL,
    claimed     double precision NOT NULL DEFAULT 0,
    settled     double precision
);
CREATE INDEX outbox_open ON amends.outbox (service, number) WHERE settled IS NULL;
CREATE INDEX outbox_open_key ON amends.outbox (service, key, number) WHERE settled IS NULL AND key <> '';
CREATE INDEX outbox_settled ON amends.outbox (service, settled) WHERE settled IS NOT NULL;

-- What was begun carefully and has not come to its end. `deaths`: of those who were at it alone; -1 while the first is
-- at it beside others.
CREATE TABLE amends.inbox_death (
    what        text PRIMARY KEY,
    deaths      integer NOT NULL,
    holder      text NOT NULL,                         -- who is at it; '' is nobody
    at          double precision NOT NULL,             -- their last sign of life
    parked      double precision NOT NULL DEFAULT 0    -- when it was found to be poison
);

UPDATE amends.inbox_version SET version = 2;
