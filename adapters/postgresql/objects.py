"""What `prepare` makes: a schema with the change log, the crosswalk and the fence, and the triggers of each table.

The trigger functions never make an application's statement fail (I12): they have the rights of their owner with a
fixed search_path, no dynamic SQL, and they bear with a table that has changed since. Row images are compared byte by
byte (`*<>`), so neither a collation nor a type without equality hides a change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from adapters.postgresql import statements
from adapters.postgresql.bound import Bound
from adapters.postgresql.doorbell import ring
from adapters.postgresql.log import EMPTIED, PREFIX
from adapters.postgresql.logical import slot
from adapters.postgresql.sql import column_of, literal, own, qualified, quote, trim
from config.records import Column

EVENTS = ("insert", "update", "delete", "truncate")
# What spells a key of these kinds depends on settings of the application's session: the function brings its own.
SPELLING = {
    "date": ["datestyle = 'ISO, MDY'"],
    "datetime": ["datestyle = 'ISO, MDY'", "timezone = 'UTC'"],
    "time": ["timezone = 'UTC'"],
    "float": ["extra_float_digits = 1"],
}


class Objects:
    """The SQL of Accord's objects in one database."""

    def __init__(
        self,
        prefix: str,
        account: str | None,
        bounds: Sequence[Bound],
        by_statement: Collection[str] = (),
        replaces: bool = True,
    ) -> None:
        """`by_statement`: tags of tables whose triggers fire once for each statement. `replaces`: the server can put a
        trigger in another one's place (since PostgreSQL 14)."""
        self.schema, self.by_statement, self._replaces = prefix, by_statement, replaces
        self.account = account
        self.groups: dict[str, list[Bound]] = {}  # two entities on one table share its triggers
        for bound in bounds:
            if bound.table.capture == "trigger":
                self.groups.setdefault(bound.tag, []).append(bound)
        self.logged = [bound for bound in bounds if bound.table.capture == "log"]
        self.mark_setting = f"{prefix}.agent"

    def name(self, what: str) -> str:
        return own(self.schema, what)

    # --- making ------------------------------------------------------------------------------------------------------

    def base(self) -> str:
        """Schema and tables, and the rights on them that the agent's account needs."""
        schema = quote(self.schema)
        return f"""-- Everything that Accord makes in this database is in this schema, but for its triggers (called
-- {self.schema}_TABLE_insert, _update, _delete and _truncate). `accord unprepare` removes it all.
DO $accord$ BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = {literal(self.schema)}) THEN
        CREATE SCHEMA {schema};
    END IF;
END $accord$;

-- Which records people and applications have changed; Accord deletes what it has dealt with.
CREATE TABLE IF NOT EXISTS {self.name("changes")} (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tbl        text COLLATE "C" NOT NULL,                 -- the table, as the mapping names it
    key        text COLLATE "C" NOT NULL,                 -- the row's primary key; a JSON array when it is composite
    was        text COLLATE "C",                          -- the key before it was changed
    op         "char" NOT NULL,                           -- I, U or D; T: the whole table was emptied
    cols       text[],                                    -- of an update: the mapped columns that changed
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    txn        bigint NOT NULL DEFAULT txid_current(),
    own        boolean NOT NULL DEFAULT false             -- by an application's trigger in a transaction of Accord's
) WITH (  -- it is emptied as fast as it fills: vacuumed often, and without a rest in between
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX IF NOT EXISTS {quote(self.schema + "_changes_key")} ON {self.name("changes")} (tbl, left(key, {PREFIX}));
CREATE INDEX IF NOT EXISTS {quote(self.schema + "_changes_moved")} ON {self.name("changes")} (tbl, id)
    WHERE was IS NOT NULL;

-- Which rows of the systems are the same record (gid). Keep it: it is what links the two databases.
CREATE TABLE IF NOT EXISTS {self.name("crosswalk")} (
    entity text COLLATE "C" NOT NULL,
    gid    text COLLATE "C" NOT NULL,
    system text COLLATE "C" NOT NULL,
    key    text COLLATE "C" NOT NULL,
    since  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (entity, system, key)
);
CREATE INDEX IF NOT EXISTS {quote(self.schema + "_crosswalk_gid")} ON {self.name("crosswalk")} (entity, gid);

-- Which agent may write here: one row.
CREATE TABLE IF NOT EXISTS {self.name("fence")} (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    agent    text NOT NULL,
    epoch    bigint NOT NULL,
    round    bigint NOT NULL,
    log_file text,                                        -- the change log's, since Accord last gave its room back
    log_was  text                                         -- the one that it had before Accord ever did
);
{self._grants()}"""

    def _grants(self) -> str:
        if self.account is None:
            return ""
        account = quote(self.account)
        return f"""
-- The account that the agent uses. It needs no right on the trigger functions; nobody else needs any right at all.
GRANT USAGE ON SCHEMA {quote(self.schema)} TO {account};
GRANT SELECT, DELETE, TRUNCATE ON {self.name("changes")} TO {account};
DO $accord$ BEGIN
    EXECUTE format('GRANT SELECT ON SEQUENCE %s TO %I', pg_get_serial_sequence({literal(self.name("changes"))}, 'id'),
        {literal(self.account)});
END $accord$;
GRANT SELECT, INSERT, UPDATE, DELETE ON {self.name("crosswalk")} TO {account};
GRANT SELECT, INSERT, UPDATE ON {self.name("fence")} TO {account};
"""

    def function(self, bound: Bound) -> str:
        """The function's name: readable, and different for every table."""
        digest = hashlib.sha256(bound.tag.encode()).hexdigest()[:8]
        return qualified(self.schema, f"{trim(bound.tag.replace('.', '_'), 46)}_{digest}")

    def trigger(self, bound: Bound, event: str) -> str:
        return f"{trim(f'{self.schema}_{bound.table.name}', 54)}_{event}"

    def captures(self, group: Sequence[Bound]) -> str:
        """The function and the triggers of one table, with the mark that tells `prepared` how they were made."""
        made = self._captures(group)
        if not self._replaces:
            # In one statement, so that no change passes in between. With the function go the triggers that call it: to
            # drop them by name takes the table's owner.
            made = made.replace("CREATE OR REPLACE TRIGGER", "CREATE TRIGGER")
            drop = f"DROP FUNCTION IF EXISTS {self.function(group[0])}() CASCADE;"
            made = f"DO $prepare$ BEGIN\n{drop}\n{made}END $prepare$;\n"
        return f"""
-- {", ".join(b.entity for b in group)}: notes the key of each row of {group[0].tag} that changes.
-- The function runs with its owner's rights, so that an application needs none on Accord's schema.
{made}"""

    def _captures(self, group: Sequence[Bound]) -> str:
        bound, function = group[0], self.function(group[0])
        return f"""CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp{self._spelling(bound)} AS $accord$
{self._body(group)}$accord$;
REVOKE ALL ON FUNCTION {function}() FROM PUBLIC;
{self._triggers(group)}
COMMENT ON FUNCTION {function}() IS {literal(self.mark(group))};
"""

    def mark(self, group: Sequence[Bound]) -> str:
        """Tells apart what was made for another mapping or by another version of Accord."""
        text = self._body(group) + self._spelling(group[0]) + self._triggers(group)
        return f"{self.schema} {hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def _spelling(self, bound: Bound) -> str:
        settings = dict.fromkeys(s for c in bound.table.key for s in SPELLING.get(c.kind, ()))
        return "".join(f"\nSET {setting}" for setting in settings)

    def _body(self, group: Sequence[Bound]) -> str:
        """What is computed from the row is computed first, in a block of its own that has nothing to write (so it costs
        no transaction id): it fails when the table has changed since, and that is no reason to fail the application.
        """
        bound, log = group[0], self.name("changes")
        if bound.tag in self.by_statement:
            given = (log, literal(bound.tag), lambda row: _key(bound, row), [c.name for c in watched(group)])
            return statements.body(*given, self.mark_setting, EMPTIED, ring(self.schema))
        into = f"INSERT INTO {log}"
        tag, old, new = literal(bound.tag), _key(bound, "OLD"), _key(bound, "NEW")
        names = ",\n                ".join(
            f"CASE WHEN {_changed(c)} THEN {literal(c.name)} END" for c in watched(group)
        )
        return f"""DECLARE
    own boolean := coalesce(current_setting({literal(self.mark_setting)}, true), '') <> '';
    key text;
    was text;
    cols text[];
    txn bigint;
BEGIN
    IF to_regclass({literal(log)}) IS NULL THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        txn := txid_current();
        {into} (tbl, key, op, own, txn) VALUES ({tag}, '', '{EMPTIED}', own, txn);
        {ring(self.schema)}
        RETURN NULL;
    END IF;
    BEGIN
        IF TG_OP <> 'DELETE' THEN
            key := {new};
        END IF;
        IF TG_OP <> 'INSERT' THEN
            was := {old};
        END IF;
        IF TG_OP = 'UPDATE' THEN
            cols := array_remove(ARRAY[{names}]::text[], NULL);
        END IF;
    EXCEPTION WHEN OTHERS THEN
        NULL;  -- a column was renamed, dropped or changed
    END;
    -- Without a key nobody can say which row it is: its column is gone, or holds NULL, as one that is unique may.
    IF coalesce(key, was) IS NULL THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' AND key = was AND cols IS NOT DISTINCT FROM '{{}}' THEN
        RETURN NULL;
    END IF;
    txn := txid_current();  -- before an id is drawn: a poll relies on it
    IF TG_OP = 'INSERT' THEN
        {into} (tbl, key, op, own, txn) VALUES ({tag}, key, 'I', own, txn);
    ELSIF TG_OP = 'DELETE' OR key IS NULL THEN
        {into} (tbl, key, op, own, txn) VALUES ({tag}, was, 'D', own, txn);
    ELSIF key <> was THEN
        {into} (tbl, key, op, own, txn) VALUES ({tag}, was, 'D', own, txn);
        {into} (tbl, key, was, op, cols, own, txn) VALUES ({tag}, key, was, 'U', cols, own, txn);
    ELSE
        {into} (tbl, key, op, cols, own, txn) VALUES ({tag}, key, 'U', cols, own, txn);
    END IF;
    {ring(self.schema)}
    RETURN NULL;
END"""

    def _triggers(self, group: Sequence[Bound]) -> str:
        """What Accord's own statement writes is not noted (depth 0: no trigger in between); what the application's
        triggers do in our transaction is, marked as own. The condition names no column: the server would refuse to
        alter or drop a column that a trigger's condition names.
        """
        bound = group[0]
        stranger = f"coalesce(current_setting({literal(self.mark_setting)}, true), '') = '' OR pg_trigger_depth() > 0"
        return "\n".join(
            f"CREATE OR REPLACE TRIGGER {quote(self.trigger(bound, event))} AFTER {event.upper()} ON {bound.name}\n"
            f"    {self._each(bound, event)} WHEN ({stranger})\n    EXECUTE FUNCTION {self.function(bound)}();"
            for event in EVENTS
        )

    def _each(self, bound: Bound, event: str) -> str:
        if bound.tag in self.by_statement:
            return f"{statements.REFERENCING.get(event, '')}FOR EACH STATEMENT"
        return "FOR EACH STATEMENT" if event == "truncate" else "FOR EACH ROW"

    def script(self) -> str:
        """All of it, for `psql`."""
        head = "-- What Accord needs in this database. May be run again at any time. It takes no superuser: CREATE on\n"
        head += "-- the database, and the right to make triggers on the tables named below.\n"
        captures = [self.captures(g) for g in self.groups.values()]
        return "\n".join([head + self.base(), *captures, slot.script(self.schema, self.logged)])

    # --- removing ----------------------------------------------------------------------------------------------------

    def removal(self, standing: Sequence[str]) -> str:
        """Triggers first, the crosswalk last. `standing`: the functions that the catalog knows."""
        bound = [f"{self.function(group[0])}()" for group in self.groups.values()]
        schema = quote(self.schema)
        tables = [f"DROP TABLE IF EXISTS {self.name(t)};" for t in ("changes", "fence")]
        return "\n".join(
            [
                "-- Removes all that Accord made in this database. May be run again at any time.",
                slot.removal(self.schema),
                self.dropping([*standing, *bound]),
                *tables,
                "-- With this table the links between the systems are gone.",
                f"DROP TABLE IF EXISTS {self.name('crosswalk')};",
                f"DROP SCHEMA IF EXISTS {schema};",
                "",
            ]
        )

    @staticmethod
    def dropping(functions: Sequence[str]) -> str:
        """The functions, and with each the triggers that call it: so no right on the application's tables is needed."""
        return "\n".join(f"DROP FUNCTION IF EXISTS {function} CASCADE;" for function in dict.fromkeys(functions))


def watched(group: Sequence[Bound]) -> list[Column]:
    """Columns whose change is a change of the record: the mapped ones, and those that archive it."""
    found: dict[str, Column] = {}
    for bound in group:
        found |= {c.name: c for _, c in bound.columns}
        found |= {name: column_of(bound.table, name) for name in (*bound.table.archive, *bound.table.restore)}
    return list(found.values())


def _changed(column: Column) -> str:
    # Without the casts the server would look for an operator of the column's type, which most have not.
    name = quote(column.name)
    return f"ROW(OLD.{name})::record *<> ROW(NEW.{name})::record"


def _key(bound: Bound, row: str) -> str:
    """The key as `config.records.Key` spells it."""
    texts = [_key_text(c, f"{row}.{quote(c.name)}") for c in bound.table.key]
    if len(texts) == 1:
        return texts[0]
    return "'[' || " + " || ',' || ".join(f"to_json({t})" for t in texts) + " || ']'"


def _key_text(column: Column, name: str) -> str:
    return f"encode({name}, 'hex')" if column.kind == "bytes" else f"{name}::text"
