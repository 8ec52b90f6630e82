-- The barrier of transactional steps, in the database of their effects: one row for both halves of
-- a step in one round. It may be another database than the sagas', so it names its namespace.
--
-- `action` is NULL only while the transaction that made the row is open: a row that is found so was
-- left by a step that ended its transaction itself.

CREATE SCHEMA IF NOT EXISTS amends;

CREATE TABLE amends.inbox_version (
    version integer NOT NULL,                          -- the last migration that was applied
    floor   integer NOT NULL                           -- the oldest code (its newest migration) that may still use it
);

CREATE TABLE amends.inbox (
    ns          text NOT NULL,
    saga        uuid NOT NULL,
    address     text NOT NULL,
    round       integer NOT NULL,
    action      text,                                  -- succeeded, rejected, tombstone
    compensated boolean NOT NULL DEFAULT false,
    missing     boolean NOT NULL DEFAULT false,
    result      text,                                  -- JSON
    reason      text NOT NULL DEFAULT '',
    at          double precision NOT NULL,             -- seconds since 1970 by this server's clock
    PRIMARY KEY (saga, address, round, ns)
);

INSERT INTO amends.inbox_version (version, floor) VALUES (1, 1);
