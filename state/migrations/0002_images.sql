-- Images move to their record: what a round changes of a record is one row, and a row that is written less often.

ALTER TABLE record RENAME TO record_1;
ALTER TABLE side RENAME TO side_1;
DROP INDEX side_key;
DROP INDEX side_existence;

CREATE TABLE record (
    id INTEGER PRIMARY KEY,
    gid TEXT NOT NULL,
    entity INTEGER NOT NULL REFERENCES entity,
    layout INTEGER NOT NULL REFERENCES layout,
    revived INTEGER,
    agreed BLOB,
    reasons BLOB,
    images BLOB,
    frozen BLOB,
    stale BLOB,
    UNIQUE (gid, entity)
) STRICT;

INSERT INTO record SELECT r.id, r.gid, r.entity, r.layout, r.revived, r.agreed, r.reasons,
    (SELECT gathered(s.system, s.layout, s.seen, s.raws, s.stands, r.layout, r.agreed) FROM side_1 s
     WHERE s.id BETWEEN r.id * 64 AND r.id * 64 + 63 AND s.raws IS NOT NULL),
    r.frozen, r.stale FROM record_1 r;

CREATE TABLE side (
    id INTEGER PRIMARY KEY,
    entity INTEGER NOT NULL REFERENCES entity,
    system INTEGER NOT NULL REFERENCES system,
    key TEXT NOT NULL,
    existence TEXT NOT NULL CHECK (existence IN ('live', 'gone', 'held')),
    settled INTEGER NOT NULL CHECK (settled IN (0, 1)),
    archived INTEGER NOT NULL CHECK (archived IN (0, 1)),
    speaks INTEGER NOT NULL CHECK (speaks IN (0, 1))
) STRICT;

INSERT INTO side SELECT id, entity, system, key, existence, settled, archived, speaks FROM side_1 WHERE key IS NOT NULL;

DROP TABLE side_1;
DROP TABLE record_1;

CREATE UNIQUE INDEX side_key ON side (entity, system, key) WHERE speaks = 1;
CREATE INDEX side_existence ON side (entity, system, existence) WHERE existence <> 'live';

CREATE TABLE undo (
    system INTEGER PRIMARY KEY REFERENCES system,
    images BLOB NOT NULL
) STRICT;
