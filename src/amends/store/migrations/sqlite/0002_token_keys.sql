-- What replies of services are authenticated with, and the name that they are sent to. `number` counts from 1.

CREATE TABLE amends_token_key (
    ns     INTEGER NOT NULL,
    number INTEGER NOT NULL,
    name   TEXT NOT NULL,              -- of the queue of replies; the same in every row
    secret BLOB NOT NULL,
    PRIMARY KEY (ns, number)
) WITHOUT ROWID;

UPDATE amends_schema SET version = 2;
