-- What replies of services are authenticated with, and the name that they are sent to. `number` counts
-- from 1: whoever comes second with the same one finds it there.

CREATE TABLE amends.token_key (
    ns     integer NOT NULL,
    number integer NOT NULL,
    name   text NOT NULL,              -- of the queue of replies; the same in every row
    secret bytea NOT NULL,
    PRIMARY KEY (ns, number)
);

UPDATE amends.schema_version SET version = 2;
