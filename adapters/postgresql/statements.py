"""Triggers once for each statement instead of once for each row: cheaper for those who write many rows at a time.

A statement's old and new rows have nothing in common but their values. An update pairs them by key, which is exact as
long as no key was changed: where the same keys come out that went in, each row has kept its own, for to swap two the
server would have to bear both having one key for a moment, which an immediate unique index refuses. Where other keys
come out, rows are paired by the order in which the server has put them aside: it puts the old and the new form of a
row aside together. A table whose rows could go another way (parts of it in other tables, a unique index that is
checked later) keeps its row triggers: `POSSIBLE`.

A join of everything on both sides is by hash or by order, never row by row, whatever the server planned it for: it
keeps the plan that it made for the first statement of a session, perhaps one of a single row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adapters.postgresql.sql import literal, quote
from config.errors import Problem
from config.records import Table

OLD, NEW = "old_rows", "new_rows"
REFERENCING = {
    "insert": f"REFERENCING NEW TABLE AS {NEW} ",
    "update": f"REFERENCING OLD TABLE AS {OLD} NEW TABLE AS {NEW} ",
    "delete": f"REFERENCING OLD TABLE AS {OLD} ",
}
POSSIBLE = """
SELECT c.relkind = 'r' AND NOT c.relispartition AND NOT EXISTS
         (SELECT FROM pg_inherits h WHERE c.oid IN (h.inhrelid, h.inhparent))
       AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid
                   AND i.indpred IS NULL AND i.indexprs IS NULL AND NOT EXISTS
                     (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid
                      AND a.attnum = ANY((i.indkey::int2[])[0:i.indnkeyatts - 1]) AND a.attname <> ALL($2::text[])))
FROM pg_class c WHERE c.oid = to_regclass($1)
"""


def kept(table: Table) -> Problem:
    """The operator wanted something else."""
    message = f"{table.name} keeps row triggers: it is partitioned, inherits, or its key is checked late"
    hint = 'leave out triggers = "statement" there'
    return Problem("row-triggers", message, hint, system=table.system, entity=table.entity)


def body(
    log: str, tag: str, key: Callable[[str], str], watched: Sequence[str], mark: str, emptied: str, ring: str
) -> str:
    """The function. `log`: its name; `key`: the key of a row as text; `watched`: columns; `mark`: the setting by which
    transactions of ours are known; `ring`: what is done when something was noted.

    What cannot be computed any more, because a column was renamed, dropped or changed, is found out in a block of its
    own that has nothing to write (so it costs no transaction id): it must not fail the application.
    """
    into = f"INSERT INTO {log} (tbl, key, op, own, txn)"
    return f"""DECLARE
    own boolean := coalesce(current_setting({literal(mark)}, true), '') <> '';
    whole boolean := true;
    moved boolean;
    txn bigint;
BEGIN
    IF to_regclass({literal(log)}) IS NULL THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        txn := txid_current();
        {into} VALUES ({tag}, '', '{emptied}', own, txn);
    ELSIF TG_OP = 'INSERT' THEN
        {_any(NEW)}
        {_probe(_one(key, NEW))}
        txn := txid_current();  -- before an id is drawn: a poll relies on it
        {into} SELECT {tag}, s.key, 'I', own, txn FROM ({_one(key, NEW)}) s WHERE s.key IS NOT NULL;
    ELSIF TG_OP = 'DELETE' THEN
        {_any(OLD)}
        {_probe(_one(key, OLD))}
        txn := txid_current();
        {into} SELECT {tag}, s.key, 'D', own, txn FROM ({_one(key, OLD)}) s WHERE s.key IS NOT NULL;
    ELSE
        {_any(NEW)}
        BEGIN
            PERFORM FROM ({_pairs(key, watched, "k")}) s LIMIT 0;
        EXCEPTION WHEN OTHERS THEN
            whole := false;
        END;
        IF NOT whole THEN
            {_probe(_pairs(key, (), "k"))}
        END IF;
        txn := txid_current();
        IF whole THEN
            {_update(log, tag, key, watched)}
        ELSE
            {_update(log, tag, key, ())}
        END IF;
    END IF;
    IF FOUND THEN
        {ring}
    END IF;
    RETURN NULL;
END"""


def _update(log: str, tag: str, key: Callable[[str], str], watched: Sequence[str]) -> str:
    """Notes an update; FOUND says whether there was anything to note."""
    into = f"INSERT INTO {log} (tbl, key, was, op, cols, own, txn)"
    return f"""WITH pair AS MATERIALIZED ({_pairs(key, watched, "k")}),
                odd AS MATERIALIZED (SELECT EXISTS (SELECT FROM pair WHERE was IS NULL OR key IS NULL) AS it),
                put AS ({into} SELECT {tag}, p.key, NULL, 'U', p.cols, own, txn FROM pair p
                        WHERE p.cols IS DISTINCT FROM '{{}}' AND NOT (SELECT it FROM odd) RETURNING 1)
            SELECT it INTO moved FROM odd WHERE it OR EXISTS (SELECT FROM put);
            IF moved THEN
                WITH pair AS MATERIALIZED ({_pairs(key, watched, "i")})
                {into}
                SELECT {tag}, CASE e.op WHEN 'D' THEN p.was ELSE p.key END,
                       CASE WHEN e.op = 'U' AND p.was <> p.key THEN p.was END, e.op::"char",
                       CASE e.op WHEN 'U' THEN p.cols END, own, txn
                FROM pair p CROSS JOIN (VALUES (1, 'D'), (2, 'U')) e(n, op)
                WHERE p.was IS DISTINCT FROM p.key AND CASE e.op WHEN 'D' THEN p.was ELSE p.key END IS NOT NULL
                   OR p.was = p.key AND e.op = 'U' AND p.cols IS DISTINCT FROM '{{}}'
                ORDER BY p.i, e.n;
            END IF;"""


def _probe(query: str) -> str:
    """Without the key nobody can say which row it is."""
    return f"""BEGIN
            PERFORM FROM ({query}) s LIMIT 0;
        EXCEPTION WHEN OTHERS THEN
            RETURN NULL;
        END;"""


def _any(rows: str) -> str:
    """Nothing is written for a statement that found no row: it would have no transaction id otherwise."""
    return f"""IF NOT EXISTS (SELECT FROM {rows}) THEN
            RETURN NULL;
        END IF;"""


def _one(key: Callable[[str], str], rows: str) -> str:
    return f"SELECT {key('r')} AS key FROM {rows} r"


def _pairs(key: Callable[[str], str], watched: Sequence[str], by: str) -> str:
    """Old and new rows, `by` their key `k` or their place `i`. Nothing `watched`: which columns changed is unknown."""
    columns = "".join(f", r.{quote(name)} AS c{n}" for n, name in enumerate(watched))
    place = ", row_number() OVER () AS i" if by == "i" else ", 0 AS i"
    o, n = (f'SELECT ({key("r")}) COLLATE "C" AS k{place}{columns} FROM {rows} r' for rows in (OLD, NEW))
    changed = ", ".join(
        f"CASE WHEN ROW(o.c{n})::record *<> ROW(n.c{n})::record THEN {literal(name)} END"
        for n, name in enumerate(watched)
    )
    cols = f"array_remove(ARRAY[{changed}]::text[], NULL)" if watched else "NULL::text[]"
    return (
        f"SELECT coalesce(o.i, n.i) AS i, o.k AS was, n.k AS key, {cols} AS cols"
        f" FROM ({o}) o FULL JOIN ({n}) n ON o.{by} = n.{by}"
    )
