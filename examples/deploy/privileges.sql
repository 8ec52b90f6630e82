-- Run as the role that runs `amends db upgrade` (it needs CREATE on the database), once, after its first run.
-- `shop_app` is the role of workers, clients and whoever is on call. It cannot change the schema.
GRANT USAGE ON SCHEMA amends TO shop_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA amends TO shop_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA amends GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO shop_app;
