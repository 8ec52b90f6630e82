-- Bulk operations: one act of a person on many sagas, its targets as they were written down, and what happened to it.
-- `runner` is who works at it, under a name that is new each time, until `lease_until`.

CREATE TABLE amends.bulk (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ns          integer NOT NULL,
    version     integer NOT NULL,                  -- of the last line of its log
    key         text NOT NULL,
    state       text NOT NULL,
    body        text NOT NULL,                     -- JSON: what is to be done
    total       integer NOT NULL DEFAULT 0,
    done        integer NOT NULL DEFAULT 0,
    refused     integer NOT NULL DEFAULT 0,
    failed      integer NOT NULL DEFAULT 0,
    created_at  double precision NOT NULL,
    changed_at  double precision NOT NULL,
    lease_until double precision,
    runner      text,
    UNIQUE (ns, key)
) WITH (fillfactor = 50);

-- What somebody is to work at: every worker asks now and then, and there is hardly ever any.
CREATE INDEX bulk_held ON amends.bulk (ns, number) WHERE state IN ('counting', 'running');

-- What somebody has: of those that have ended, what a runner that was killed has left is looked for.
CREATE INDEX bulk_had ON amends.bulk (ns, number) WHERE runner IS NOT NULL;

CREATE TABLE amends.bulk_target (
    bulk    bigint NOT NULL,
    n       integer NOT NULL,
    version integer NOT NULL,                      -- of the saga, when it was written down
    saga    text NOT NULL,                         -- the user's id
    word    text NOT NULL DEFAULT '',              -- what became of it
    detail  text NOT NULL DEFAULT '',
    at      double precision,
    PRIMARY KEY (bulk, n)
);

CREATE TABLE amends.bulk_log (
    bulk    bigint NOT NULL,
    version integer NOT NULL,
    at      double precision NOT NULL,
    line    text NOT NULL,                         -- JSON
    PRIMARY KEY (bulk, version)
);

UPDATE amends.schema_version SET version = 5;
