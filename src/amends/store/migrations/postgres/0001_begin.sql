-- Everything amends needs in one PostgreSQL database, in a schema of its own.
--
-- `ns` is the number of a namespace and part of every key. A saga's `id` is its internal id
-- (a UUIDv7: rows of sagas started together lie together), its `key` the user's.
-- The journal is the truth; the head (`saga`) is for finding: it changes when status, owner or
-- wake-up change, never for a step that just goes on.
-- Instants are seconds since 1970 by this server's clock, as everywhere in amends: they are
-- compared and given back as they were written. For reading: to_timestamp(wake_at).
-- There are no foreign keys: a user's open transaction would hold up whoever touches what it refers to.

CREATE SCHEMA IF NOT EXISTS amends;

CREATE TABLE amends.schema_version (
    version integer NOT NULL,          -- the last migration that was applied
    floor   integer NOT NULL           -- the oldest code (its newest migration) that may still use it
);

CREATE TABLE amends.namespace (
    id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE
);

CREATE TABLE amends.plan (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ns          integer NOT NULL,
    fingerprint text NOT NULL,
    name        text NOT NULL,
    body        text NOT NULL,
    UNIQUE (ns, fingerprint)
);

-- Renewed and locked all the time: room on the page keeps those changes in place.
CREATE TABLE amends.worker (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- never given twice
    ns         integer NOT NULL,
    host       text NOT NULL,
    pid        integer NOT NULL,
    plans      integer[] NOT NULL,                               -- the numbers of the plans it can run
    started_at double precision NOT NULL,
    expires_at double precision NOT NULL,
    retired_at double precision,                                 -- once set, it writes nothing any more
    survived   boolean NOT NULL DEFAULT false,                   -- it was retired, and had not died
    left_at    double precision                                  -- it went by itself
) WITH (fillfactor = 50);

CREATE INDEX worker_alive ON amends.worker (ns) WHERE retired_at IS NULL;

CREATE TABLE amends.saga (
    ns         integer NOT NULL,
    plan       integer NOT NULL,
    id         uuid NOT NULL,
    key        text NOT NULL,
    status     text NOT NULL,
    epoch      integer NOT NULL,
    owner      bigint,
    wake_at    double precision,
    created_at double precision NOT NULL,
    updated_at double precision NOT NULL,
    input_hash bytea NOT NULL,
    stuck      text,
    reason     text,
    stalled    text,
    parent     uuid,                                             -- the saga it is nested in
    waiting    text,                                             -- what it waits for before its first step
    PRIMARY KEY (ns, id)
);

CREATE UNIQUE INDEX saga_key ON amends.saga (key, ns);  -- not (ns, key): it must never look fit for finding an id
-- One index finds all that is open: due (owner NULL, by wake_at), owned, or waiting; with plan
-- and status in it, it also counts and lists them.
CREATE INDEX saga_open ON amends.saga (ns, owner, wake_at, plan, status)
    WHERE status IN ('running', 'compensating', 'parked');
CREATE INDEX saga_trouble ON amends.saga (ns, id) WHERE stuck IS NOT NULL OR stalled IS NOT NULL;
CREATE INDEX saga_stalled ON amends.saga (ns, plan) WHERE stalled IS NOT NULL;  -- every look for work asks, few are

CREATE TABLE amends.journal (
    ns   integer NOT NULL,
    seq  integer NOT NULL,
    saga uuid NOT NULL,
    op   bigint NOT NULL,                                        -- tells a repeated commit from another's
    row  text NOT NULL,                                          -- JSON
    PRIMARY KEY (ns, saga, seq)
);

CREATE TABLE amends.mail (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ns          integer NOT NULL,
    taken       boolean NOT NULL DEFAULT false,                  -- a decision knows of it, the answer comes later
    saga        uuid NOT NULL,
    message     text NOT NULL,
    kind        text NOT NULL,
    body        text NOT NULL,                                   -- JSON
    created_at  double precision NOT NULL,
    answered_at double precision,
    answer      text,
    detail      text,
    UNIQUE (ns, saga, message)
);

CREATE INDEX mail_open ON amends.mail (ns, saga) WHERE answer IS NULL;

INSERT INTO amends.schema_version (version, floor) VALUES (1, 1);
