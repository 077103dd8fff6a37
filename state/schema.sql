-- The agent's memory: the whole schema as it is now. How a file of an older version gets here: migrations/.
--
-- Ids are integers and stay inside the store: a lookup by integer costs half of one by text. What belongs to one
-- record in one system has the *slot* `record * 64 + system` as its id, so that all sides of a record lie together
-- and are found by a range. Blobs are MessagePack (what is in them: codec.py); times are microseconds since
-- 1970-01-01 UTC.

CREATE TABLE system (
    id INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 63),  -- the lower 6 bits of a slot
    name TEXT NOT NULL UNIQUE                            -- as in the configuration
) STRICT;

CREATE TABLE entity (
    id INTEGER PRIMARY KEY,                              -- what other tables speak of
    name TEXT NOT NULL UNIQUE                            -- as in the configuration
) STRICT;

-- Which field stands at which place of a blob. A changed mapping makes a new layout; old blobs keep theirs.
CREATE TABLE layout (
    id INTEGER PRIMARY KEY,                              -- the greatest one of an entity is in use
    entity INTEGER NOT NULL REFERENCES entity,           -- the entity
    fields TEXT NOT NULL,                                -- JSON array of names, in order
    refs TEXT NOT NULL                                   -- JSON array of the names of those that are references
) STRICT;

CREATE TABLE record (
    id INTEGER PRIMARY KEY,                              -- inside the store only; `record` elsewhere
    gid TEXT NOT NULL,                                   -- identity for life
    entity INTEGER NOT NULL REFERENCES entity,           -- the entity
    layout INTEGER NOT NULL REFERENCES layout,           -- of `agreed` and `reasons`
    revived INTEGER,                                     -- when it was last decided that the record lives
    agreed BLOB,                                         -- the version: [values, stamps]; NULL = nothing agreed yet
    reasons BLOB,                                        -- the version: [origins, rules]
    images BLOB,                                         -- what was last seen in the systems; NULL = nothing
    frozen BLOB,                                         -- fields in review; NULL = none
    stale BLOB,                                          -- values replaced within the stale window; NULL = none
    UNIQUE (gid, entity)
) STRICT;

-- One record's link to one system: the key there. Written only when a link changes.
CREATE TABLE side (
    id INTEGER PRIMARY KEY,                              -- slot
    entity INTEGER NOT NULL REFERENCES entity,           -- of the record
    system INTEGER NOT NULL REFERENCES system,           -- the system
    key TEXT NOT NULL,                                   -- current key
    existence TEXT NOT NULL CHECK (existence IN ('live', 'gone', 'held')), -- held: a person must say
    settled INTEGER NOT NULL CHECK (settled IN (0, 1)),  -- gone: the other systems have done what follows
    archived INTEGER NOT NULL CHECK (archived IN (0, 1)), -- gone, but the row is still there
    speaks INTEGER NOT NULL CHECK (speaks IN (0, 1))     -- the key means this record; 0 = taken by another
) STRICT;

-- A key speaks for one record at most.
CREATE UNIQUE INDEX side_key ON side (entity, system, key) WHERE speaks = 1;
CREATE INDEX side_existence ON side (entity, system, existence) WHERE existence <> 'live';

-- Keys that once spoke for a record; late events about them mean nothing to it.
CREATE TABLE tomb (
    entity INTEGER NOT NULL REFERENCES entity,           -- the entity
    system INTEGER NOT NULL REFERENCES system,           -- the system
    key TEXT NOT NULL,                                   -- as in `side`
    record INTEGER NOT NULL,                             -- the last one it spoke for
    at INTEGER NOT NULL,                                 -- when it stopped
    PRIMARY KEY (entity, system, key)
) STRICT, WITHOUT ROWID;

-- Gids of records that turned out to be another one.
CREATE TABLE alias (
    gid TEXT PRIMARY KEY,                                -- the loser's
    record INTEGER NOT NULL,                             -- the survivor
    at INTEGER NOT NULL                                  -- when they were joined
) STRICT, WITHOUT ROWID;

-- Agreed references, from the child's side.
CREATE TABLE ref (
    child INTEGER NOT NULL,                              -- record that refers
    field TEXT NOT NULL,                                 -- by which field
    parent INTEGER NOT NULL,                             -- record that is referred to
    PRIMARY KEY (child, field)
) STRICT, WITHOUT ROWID;

CREATE INDEX ref_parent ON ref (parent);

-- What an open transaction stored, until it is known whether it landed: links that it makes or changes.
CREATE TABLE prepared (
    id INTEGER PRIMARY KEY,                              -- slot
    entity INTEGER NOT NULL REFERENCES entity,           -- the entity
    system INTEGER NOT NULL REFERENCES system,           -- the system
    key TEXT NOT NULL,                                   -- from here on as in `side`
    existence TEXT NOT NULL,                             -- as it will be
    settled INTEGER NOT NULL,                            -- as it will be
    archived INTEGER NOT NULL,                           -- as it will be
    layout INTEGER REFERENCES layout,                    -- of `raws` and `stands`
    seen INTEGER,                                        -- when it was read back
    raws BLOB,                                           -- NULL = the row was deleted
    stands BLOB                                          -- [values, stamps]
) STRICT;

CREATE INDEX prepared_key ON prepared (system, entity, key);

-- The frequent rest of it: images of rows that were updated under the same key are written at once, and here is what
-- they were, to be brought back should the transaction not have landed.
CREATE TABLE undo (
    system INTEGER PRIMARY KEY REFERENCES system,        -- where it is open
    images BLOB NOT NULL                                 -- by slot: the image before
) STRICT;

-- Systems with a transaction of unknown outcome.
CREATE TABLE unsettled (
    system INTEGER PRIMARY KEY REFERENCES system,        -- where it is open
    round INTEGER NOT NULL                               -- its fence tells whether this round landed
) STRICT;

-- The last round.
CREATE TABLE round (
    one INTEGER PRIMARY KEY CHECK (one = 1),             -- there is one row
    number INTEGER NOT NULL,                             -- counted from 1
    at INTEGER NOT NULL                                  -- when it was decided
) STRICT;

-- Up to where each source was worked through.
CREATE TABLE position (
    system INTEGER PRIMARY KEY REFERENCES system,        -- whose changes
    value BLOB NOT NULL                                  -- opaque: the capture's own
) STRICT;

-- What was decided and written. Lines are added and never changed (but for a joined record).
CREATE TABLE journal (
    seq INTEGER PRIMARY KEY,                             -- in the order of decision
    round INTEGER NOT NULL,                              -- in which
    at INTEGER NOT NULL,                                 -- when it was decided
    entity INTEGER NOT NULL REFERENCES entity,           -- the entity
    record INTEGER,                                      -- NULL = about no record
    action TEXT NOT NULL,                                -- link create update delete conflict override …
    system TEXT NOT NULL,                                -- where it was written, or whose value it is about
    field TEXT NOT NULL,                                 -- '' = the record as a whole
    before BLOB,                                         -- canonical value
    after BLOB,                                          -- canonical value
    rule TEXT NOT NULL,                                  -- why
    origin TEXT NOT NULL,                                -- the system whose edit caused it
    changed_at INTEGER,                                  -- when people changed it there
    note TEXT NOT NULL,                                  -- more, in words
    extra INTEGER NOT NULL DEFAULT 0,                    -- how many further lines stand in `more`
    more BLOB                                            -- the same of further fields: [field, before, after] each
) STRICT;

CREATE INDEX journal_record ON journal (record);

-- Questions that only a person can answer. Closed ones stay for history.
CREATE TABLE review (
    id TEXT PRIMARY KEY,                                 -- short and typeable
    kind TEXT NOT NULL,                                  -- ambiguous duplicate conflict delete refused …
    entity INTEGER NOT NULL REFERENCES entity,           -- of what is asked
    record INTEGER,                                      -- NULL = a row that is no record yet
    system TEXT NOT NULL,                                -- '' = no one system
    key TEXT NOT NULL,                                   -- of the row that is asked about
    field TEXT NOT NULL,                                 -- '' = the record as a whole
    message TEXT NOT NULL,                               -- one sentence
    hint TEXT NOT NULL,                                  -- what to do
    detail TEXT NOT NULL,                                -- JSON object
    since INTEGER NOT NULL,                              -- when it was first asked
    closed INTEGER                                       -- when it was answered; NULL = open
) STRICT, WITHOUT ROWID;

CREATE INDEX review_record ON review (record);

-- The rows that an open review names: its own, and its candidates. A change of any of them looks at it again.
CREATE TABLE review_row (
    entity INTEGER NOT NULL REFERENCES entity,           -- with system and key: the row
    system TEXT NOT NULL,                                -- name, as in `review`
    key TEXT NOT NULL,                                   -- as in `review`
    review TEXT NOT NULL,                                -- the open item
    PRIMARY KEY (entity, system, key, review)
) STRICT, WITHOUT ROWID;

CREATE INDEX review_row_review ON review_row (review);

-- Records that could not be settled yet.
CREATE TABLE pending (
    id INTEGER PRIMARY KEY,                              -- slot: the record, and where something is wanted
    entity INTEGER NOT NULL REFERENCES entity,           -- the entity
    reason TEXT NOT NULL,                                -- down parent refused …
    message TEXT NOT NULL,                               -- in words
    since INTEGER NOT NULL,                              -- of the first try
    due INTEGER NOT NULL,                                -- next try
    attempts INTEGER NOT NULL                            -- how many were in vain
) STRICT;

CREATE INDEX pending_due ON pending (due);

-- Rows that the agent itself wants to look at.
CREATE TABLE look (
    entity INTEGER NOT NULL REFERENCES entity,           -- the entity
    system INTEGER NOT NULL REFERENCES system,           -- the system
    key TEXT NOT NULL,                                   -- of the row
    due INTEGER NOT NULL,                                -- not before
    reason TEXT NOT NULL,                                -- first contact, retry, sweep …
    PRIMARY KEY (entity, system, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX look_due ON look (due);

-- Rows of the systems, linked or not, whose match values are known.
CREATE TABLE candidate (
    id INTEGER PRIMARY KEY,                              -- what `match` speaks of
    entity INTEGER NOT NULL REFERENCES entity,           -- the entity
    system INTEGER NOT NULL REFERENCES system,           -- the system
    key TEXT NOT NULL,                                   -- of the row
    hashes BLOB NOT NULL,                                -- one per rule, as in `match`
    UNIQUE (entity, system, key)
) STRICT;

CREATE TABLE match (
    entity INTEGER NOT NULL REFERENCES entity,           -- the entity
    rule INTEGER NOT NULL,                               -- place of the rule in the entity's `match`
    hash BLOB NOT NULL,                                  -- of the canonical match values
    candidate INTEGER NOT NULL,                          -- the row
    PRIMARY KEY (entity, rule, hash, candidate)
) STRICT, WITHOUT ROWID;

-- Named texts: first-contact phases, acceptances, sweep cursors, epochs.
CREATE TABLE meta (
    name TEXT PRIMARY KEY,                               -- which
    value TEXT NOT NULL                                  -- as it was put
) STRICT, WITHOUT ROWID;
