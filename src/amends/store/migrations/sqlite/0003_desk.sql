-- Who sees to a saga, and the last note that somebody left about it. Code that knows neither leaves both as they are.

ALTER TABLE amends_saga ADD COLUMN assigned TEXT;
ALTER TABLE amends_saga ADD COLUMN note TEXT;

UPDATE amends_schema SET version = 3;
