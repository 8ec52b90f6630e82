-- Who sees to a saga, and the last note that somebody left about it. Code that knows neither leaves both as they are.

ALTER TABLE amends.saga ADD COLUMN assigned text, ADD COLUMN note text;

UPDATE amends.schema_version SET version = 3;
