-- Lines of one record that tell the same of several fields stand in one row; nobody asks for the lines of one round.

ALTER TABLE journal ADD COLUMN extra INTEGER NOT NULL DEFAULT 0;
ALTER TABLE journal ADD COLUMN more BLOB;

DROP INDEX journal_round;
