-- What else an act says, as JSON: the version of the saga that its sender looked at, and whether nothing stayed of what
-- was tried. Nothing where it says no more.

ALTER TABLE amends.mark ADD COLUMN more text;

UPDATE amends.inbox_version SET version = 4;
