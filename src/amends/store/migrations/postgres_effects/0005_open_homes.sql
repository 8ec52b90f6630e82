-- The homes of the sagas that have not ended, in the order of their ids: people look through them, newest first.

CREATE INDEX home_open ON amends.home (service, saga) WHERE stand <> 'ended';

UPDATE amends.inbox_version SET version = 5;
