DROP TABLE withdrawal;
DROP TABLE counter;
DROP TABLE tally;
DROP TABLE event;
DROP TABLE subject;
DROP TABLE link;
DROP TABLE campaign;
