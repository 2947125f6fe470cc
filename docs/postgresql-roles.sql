-- Rights of a tracking node's own PostgreSQL role: it adds hits to the ledger and reads what pixels and links need. It cannot read hits,
-- recipients' pseudonyms or letters, and cannot even connect to the people's database.
--
-- Run it as the owner of both databases or as a superuser, once Letterlab has made its tables, and again after an upgrade that adds some:
--   psql -d ledger -v vault=vault -v ledger=ledger -v owner=letterlab -v tracker=letterlab_track -f postgresql-roles.sql
-- after  CREATE ROLE letterlab_track LOGIN PASSWORD '…';

\set ON_ERROR_STOP on

-- Every role may connect to every database unless told otherwise.
REVOKE CONNECT ON DATABASE :"vault" FROM PUBLIC;
REVOKE CONNECT ON DATABASE :"ledger" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"vault" TO :"owner";
GRANT CONNECT ON DATABASE :"ledger" TO :"owner", :"tracker";

GRANT USAGE ON SCHEMA public TO :"tracker";
GRANT SELECT ON __diesel_schema_migrations TO :"tracker";
-- Which campaigns record, where links lead, pictures inside letters, who withdrew.
GRANT SELECT (number, state) ON campaign TO :"tracker";
GRANT SELECT ON link, image, withdrawal TO :"tracker";
-- Hits, their numbers, and how far the spool is loaded.
GRANT INSERT ON event TO :"tracker";
GRANT SELECT, UPDATE ON counter TO :"tracker";
GRANT SELECT, INSERT, UPDATE ON spool TO :"tracker";
