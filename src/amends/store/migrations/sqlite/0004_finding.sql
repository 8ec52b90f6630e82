-- What went wrong with a saga, so that all in which the same went wrong are found together, and when it ended.
--
-- Only open sagas of which something went wrong stand in the first index: one that just goes on never does, and
-- nothing is left there of those that have ended. The second grows by an entry when a saga ends, at its end.

ALTER TABLE amends_saga ADD COLUMN fingerprint TEXT;
ALTER TABLE amends_saga ADD COLUMN step TEXT;

CREATE INDEX amends_saga_wrong ON amends_saga (ns, fingerprint, status, plan, updated_at)
    WHERE fingerprint IS NOT NULL AND status IN ('running', 'compensating', 'parked');
CREATE INDEX amends_saga_ended ON amends_saga (ns, updated_at, status) WHERE status IN ('completed', 'compensated');

UPDATE amends_schema SET version = 4;
