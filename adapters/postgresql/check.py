"""What would keep `prepare` or `run` from working on a PostgreSQL server. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adapters.postgresql.bound import Bound
from adapters.postgresql.logical.check import check_log
from adapters.postgresql.objects import watched
from adapters.postgresql.session import Session
from adapters.postgresql.sql import array, literal, quote
from adapters.rows import expression
from config.errors import AccordError, Problem

TIMES = ("date", "timestamp without time zone", "timestamp with time zone")
KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}
SEQUENCES = """
WITH q AS MATERIALIZED (  -- else the server asks for the rights on a table before it knows that it is no sequence
    SELECT d.refobjid::regclass AS name
    FROM pg_attrdef e JOIN pg_attribute a ON a.attrelid = e.adrelid AND a.attnum = e.adnum
    JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = e.oid AND d.refclassid = 'pg_class'::regclass
    JOIN pg_class c ON c.oid = d.refobjid AND c.relkind = 'S'
    WHERE e.adrelid = $1::regclass AND a.attname = ANY($2::text[])
    UNION
    SELECT pg_get_serial_sequence($1::regclass::text, a.attname::text)::regclass FROM pg_attribute a
    WHERE a.attrelid = $1::regclass AND a.attname = ANY($2::text[]) AND a.attidentity <> '')
SELECT q.name FROM q WHERE q.name IS NOT NULL AND NOT has_sequence_privilege(q.name, 'USAGE')
"""


class Check:
    """Collects problems; each says what to do."""

    def __init__(self, session: Session, prefix: str, bounds: Sequence[Bound], prepared: bool) -> None:
        self._session = session
        self._prefix = prefix
        self._bounds = bounds
        self._prepared = prepared
        self._who = ""

    def run(self) -> list[Problem]:
        self._who = quote(self._session.query("SELECT current_user")[0][0])
        found = list(self._server())
        for bound in self._bounds:
            found += [*self._kind(bound), *self._rights(bound), *self._expressions(bound)]
            if bound.table.capture == "watermark":
                found += self._modified(bound)
        logged = [bound for bound in self._bounds if bound.table.capture == "log"]
        return found + list(check_log(self._session, self._prefix, logged))

    def _problem(self, code: str, message: str, hint: str = "", bound: Bound | None = None) -> Problem:
        return Problem(code, message, hint, system=self._session.name, entity=bound.entity if bound else None)

    # --- the server --------------------------------------------------------------------------------------------------

    def _server(self) -> Iterator[Problem]:
        standby, readonly, database, may, there = self._session.query(
            "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', current_database(),"
            " has_database_privilege(current_database(), 'CREATE'),"
            f" (SELECT n.oid FROM pg_namespace n WHERE n.nspname = {literal(self._prefix)})"
        )[0]
        writes = any(b.table.write or b.table.capture != "watermark" for b in self._bounds)
        if writes and (standby or readonly):
            text = "the server is a standby" if standby else "the account's transactions are read-only"
            yield self._problem("read-only", text, "point Accord to the server and account that take writes")
        if self._prepared or not writes:
            return
        if there is None and not may:
            grant = f"GRANT CREATE ON DATABASE {quote(database)} TO {self._who};"
            hint = f"run as its owner: {grant} or let a DBA run `accord prepare --print`"
            yield self._problem("privilege", f"the account may not make the schema {self._prefix}", hint)
        if there is not None and not self._may("schema", str(there), "CREATE"):
            grant = f"GRANT USAGE, CREATE ON SCHEMA {quote(self._prefix)} TO {self._who};"
            hint = f"run as its owner: {grant} or let a DBA run `accord prepare --print`"
            yield self._problem("privilege", f"the account may make nothing in the schema {self._prefix}", hint)

    def _may(self, what: str, oid: str, right: str) -> bool:
        return bool(self._session.query(f"SELECT has_{what}_privilege($1::oid, $2)", [oid, right])[0][0])

    # --- a table -----------------------------------------------------------------------------------------------------

    def _kind(self, bound: Bound) -> Iterator[Problem]:
        rows = self._session.query(
            "SELECT c.relkind::text, row_security_active(c.oid) FROM pg_class c WHERE c.oid = to_regclass($1)",
            [bound.name],
        )
        for kind, secured in rows:
            if kind in KINDS and (bound.table.capture == "trigger" or bound.table.write):
                text = f"{bound.table.name} is {KINDS[kind]}: it has no triggers and no rows of its own"
                hint = 'map the table behind it, or read it only: capture = "watermark", write = false'
                yield self._problem("view", text, hint, bound)
            if secured:
                text = f"row-level security may hide rows of {bound.table.name} from the account"
                hint = f"run as a superuser: ALTER ROLE {self._who} BYPASSRLS;"
                yield self._problem("row-security", text, hint, bound)

    def _rights(self, bound: Bound) -> Iterator[Problem]:
        table = bound.table
        mapped = [c.name for c in (*table.key, *watched([bound]))]
        wanted = {"SELECT": mapped}
        if table.write:
            keys = {c.name for c in table.key}
            wanted["UPDATE"] = [n for n in (*mapped, *table.stamp) if n not in keys]
            if table.creates:
                wanted["INSERT"] = [*mapped, *table.insert, *table.stamp]
        if missing := self._missing_grants(bound, wanted):
            text = f"the account lacks {', '.join(missing)} on the table {table.name}"
            hint = f"run as its owner: GRANT {', '.join(missing)} ON {bound.name} TO {self._who};"
            yield self._problem("privilege", text, hint, bound)
        if table.write and table.creates and table.new_key is None:
            names = array([c.name for c in table.key])
            for (sequence,) in self._session.query(SEQUENCES, [bound.name, names]):
                text = f"the account may not take numbers from {sequence}, which makes the keys of {table.name}"
                hint = f"run as its owner: GRANT USAGE ON SEQUENCE {sequence} TO {self._who};"
                yield self._problem("privilege", text, hint, bound)

    def _missing_grants(self, bound: Bound, wanted: dict[str, list[str]]) -> list[str]:
        """Rights in the words of GRANT, on no more columns than Accord reads or writes."""
        missing: list[str] = []
        for right, names in wanted.items():
            lacking = [
                name
                for (name,) in self._session.query(
                    "SELECT s.name FROM unnest($2::text[]) AS s(name)"
                    " WHERE NOT has_column_privilege($1::regclass, s.name, $3)",
                    [bound.name, array(list(dict.fromkeys(names))), right],
                )
            ]
            if lacking:
                missing.append(f"{right} ({', '.join(map(quote, lacking))})")
        whole = (["DELETE"] if bound.table.write and bound.table.deletes else []) + (
            ["TRIGGER"] if bound.table.capture == "trigger" and not self._prepared else []
        )
        for right in whole:
            if not self._session.query("SELECT has_table_privilege($1::regclass, $2)", [bound.name, right])[0][0]:
                missing.append(right)
        return missing

    # --- texts of the configuration ----------------------------------------------------------------------------------

    def _expressions(self, bound: Bound) -> Iterator[Problem]:
        table = bound.table
        given = {"modified": table.modified, "new_key": table.new_key}
        for part in ("archive", "restore", "insert", "stamp"):
            given |= {f"{part}.{name}": value for name, value in getattr(table, part).items()}
        for place, value in given.items():
            text = expression(value)
            if text is None:
                continue
            # A new row has no columns yet that an expression could name.
            source = f" FROM {bound.name} t" if place.startswith(("modified", "archive")) else ""
            try:
                self._session.query(f"EXPLAIN SELECT ({text}){source}")
            except AccordError as error:
                message = f"{place} does not run: {error.problem.message}"
                yield self._problem("expression", message, "correct the expression", bound)

    def _modified(self, bound: Bound) -> Iterator[Problem]:
        if bound.modified is None:
            text = f"watermark capture of {bound.table.name} needs `modified`"
            yield self._problem("modified", text, "name the column that says when a row was last changed", bound)
            return
        try:
            type = bound.modified_type(self._session)
        except AccordError:
            return  # said by `_expressions`
        if type not in TIMES:
            text = f"`modified` of {bound.table.name} is {type}, which is no point in time"
            yield self._problem("modified", text, "name a column of a date or timestamp type", bound)
