-- Which events are of which recipient, up to and with the number counted as 'filed seq'; an index of event did this before. Each hit of
-- many recipients changed a page of its own in it: events are filed many at a time instead, in the order of pseudonyms.
CREATE TABLE filed (
    pseudonym TEXT NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (pseudonym, seq)
); -- on SQLite: ) WITHOUT ROWID;
INSERT INTO counter (name, value) VALUES ('filed seq', 0);
DROP INDEX event_by_pseudonym;
