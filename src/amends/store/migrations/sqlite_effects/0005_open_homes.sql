-- The homes of the sagas that have not ended, in the order of their ids: people look through them, newest first.

CREATE INDEX amends_home_open ON amends_home (service, saga) WHERE stand <> 'ended';

UPDATE amends_inbox_version SET version = 5;
