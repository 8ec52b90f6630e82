-- What went wrong with a saga, so that all in which the same went wrong are found together, and when it ended.
--
-- Only open sagas of which something went wrong stand in the first index: one that just goes on never does, and
-- nothing is left there of those that have ended. The second grows by an entry when a saga ends, at its end.

ALTER TABLE amends.saga ADD COLUMN fingerprint text, ADD COLUMN step text;

CREATE INDEX saga_wrong ON amends.saga (ns, fingerprint)
    WHERE fingerprint IS NOT NULL AND status IN ('running', 'compensating', 'parked');
-- Not (ns, updated_at): it must never look fit for finding some sagas by their ids among those that ended.
CREATE INDEX saga_ended ON amends.saga (updated_at, ns, status) WHERE status IN ('completed', 'compensated');

UPDATE amends.schema_version SET version = 4;
