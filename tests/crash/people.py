"""People who edit one system, as a thread: plain SQL, each edit with its line in the ledger.

Every value that they enter is unlike any other, so that afterwards each can be told apart. A statement of theirs that
fails for another reason than their own server's being down, or a deadlock, is an error of the test (I12).
"""

from __future__ import annotations

import itertools
import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Self

import psycopg
import pymysql

from tests.crash.place import PEOPLE, TEXTS, Place

AGAIN = (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable, psycopg.errors.SerializationFailure)
AGAIN_MARIA = (1205, 1213, 1020)  # lock wait timeout, deadlock, record has changed since it was read
GONE_MARIA = (2003, 2006, 2013, 0)  # the server does not answer, or has gone away

_numbers = itertools.count(1)
_codes = itertools.count(1)


def fresh(system: str) -> str:
    """A value that nobody has entered before."""
    return f"{system}{next(_numbers)}"


def fresh_code(system: str) -> str:
    """Of a new record; every other one is even."""
    return f"{system}-{next(_codes)}"


class People(threading.Thread):
    """`pause`: seconds between two edits. Use as a context: they work inside of it."""

    def __init__(self, place: Place, seed: int, pause: float = 0.01, actions: Sequence[str] | None = None) -> None:
        super().__init__(name=f"people-{place.system}-{seed}", daemon=True)
        self.place, self.pause = place, pause
        self.random = random.Random(f"{place.system} {seed}")
        self.actions: dict[str, tuple[int, Callable[[Any], bool]]] = {
            "edit": (60, self.edit),
            "points": (15, self.points),
            "add": (7, self.add_customer),
            "remove": (3, self.remove_customer),
            "visit": (6, self.add_visit),
            "subject": (6, self.edit_visit),
            "cancel": (2, self.remove_visit),
        }
        if actions is not None:
            self.actions = {name: self.actions[name] for name in actions}
        self.done = 0
        self.refused = 0
        self.failure: BaseException | None = None
        self.stopping = threading.Event()
        self.twins: Sequence[tuple[str, str]] = ()  # visits that another system has: (number, customer's code)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """They finish what they are at. Raises what went wrong."""
        self.stopping.set()
        self.join(60)
        assert not self.is_alive(), "they do not come to an end"
        if self.failure is not None:
            raise self.failure

    def run(self) -> None:
        connection = None
        try:
            while not self.stopping.is_set():
                try:
                    if connection is None:
                        connection = self.place.connect(PEOPLE)
                    self.act(connection)
                except (psycopg.Error, pymysql.Error) as error:
                    if gone(error):
                        connection = None
                        time.sleep(0.1)
                    elif again(error):
                        self.refused += 1
                    else:
                        raise
                time.sleep(self.pause * self.random.uniform(0.2, 1.8))
        except BaseException as error:
            self.failure = error
        finally:
            if connection is not None:
                connection.close()

    def act(self, connection: Any) -> None:
        weights = [weight for weight, _ in self.actions.values()]
        ((_, action),) = self.random.choices(list(self.actions.values()), weights)
        with self.place.transaction(connection) as cursor:
            did = action(cursor)
        self.done += did

    # --- what they do ------------------------------------------------------------------------------------------------

    def edit(self, cursor: Any) -> bool:
        """One field, sometimes two, of one customer."""
        fields = self.random.sample(TEXTS["customer"], self.random.choice((1, 1, 2)))
        return self.change(cursor, "customer", {f: fresh(self.place.system) for f in fields})

    def edit_visit(self, cursor: Any) -> bool:
        return self.change(cursor, "visit", {"subject": fresh(self.place.system)})

    def change(self, cursor: Any, entity: str, values: dict[str, str]) -> bool:
        columns = {f: self.place.column(f) for f in values}
        found = self.pick(cursor, entity, tuple(columns.values()))
        if found is None:
            return False
        key, code, *old = found
        sets = ", ".join(f"{c} = %s" for c in columns.values())
        cursor.execute(f"UPDATE {entity} SET {sets} WHERE id = %s", [*values.values(), key])
        for field, before in zip(values, old, strict=True):
            self.note(cursor, entity, code, field, before, values[field])
        return True

    def points(self, cursor: Any) -> bool:
        """A counter, by what it is now."""
        column = self.place.column("points")
        found = self.pick(cursor, "customer", (column,))
        if found is None:
            return False
        key, code, old = found
        more = self.random.randint(1, 9)
        cursor.execute(f"UPDATE customer SET {column} = {column} + %s WHERE id = %s", (more, key))
        self.note(cursor, "customer", code, "points", str(old), str(old + more))
        return True

    def add_customer(self, cursor: Any) -> bool:
        """Those whose number is odd may be deleted again; they get no visits."""
        code = fresh_code(self.place.system)
        values = {f: fresh(self.place.system) for f in TEXTS["customer"]}
        self.insert(cursor, "customer", {"code": code, **values})
        for field, value in values.items():
            self.note(cursor, "customer", code, field, None, value)
        self.note(cursor, "customer", code, "", None, "added")
        return True

    def add_visit(self, cursor: Any) -> bool:
        """A new one, or one that the other system has just noted, too: the match rule is to find it."""
        c = self.place.column
        number, code = self.random.choice(self.twins) if self.twins and self.random.random() < 0.4 else ("", "")
        where, given = (f" WHERE {c('code')} = %s", (code,)) if code else ("", None)
        cursor.execute(f"SELECT id, {c('code')} FROM customer{where}", given)
        customers = [row for row in cursor.fetchall() if even(row[1])]
        if not customers:
            return False
        key, code = self.random.choice(customers)
        number, subject = number or fresh_code(self.place.system), fresh(self.place.system)
        columns = {"number": number, "customer": key, "subject": subject}
        if not self.insert(cursor, "visit", columns, unless_there=True):
            return False
        self.note(cursor, "visit", number, "subject", None, subject)
        self.note(cursor, "visit", number, "", None, f"of {code}")
        return True

    def remove_customer(self, cursor: Any) -> bool:
        return self.remove(cursor, "customer", ("name", "phone", "note"), lambda code: not even(code))

    def remove_visit(self, cursor: Any) -> bool:
        return self.remove(cursor, "visit", ("subject",), even)

    # --- how ---------------------------------------------------------------------------------------------------------

    def pick(
        self, cursor: Any, entity: str, columns: Sequence[str], which: Callable[[str], bool] = lambda code: True
    ) -> Any:
        """A row, locked: key, code, columns. None: there is none, or somebody has just deleted it."""
        name = self.place.column("code" if entity == "customer" else "number")
        cursor.execute(f"SELECT id, {name} FROM {entity} ORDER BY id")
        keys = [key for key, code in cursor.fetchall() if which(code)]
        if not keys:
            return None
        names = ", ".join((name, *columns))
        cursor.execute(f"SELECT id, {names} FROM {entity} WHERE id = %s FOR UPDATE", (self.random.choice(keys),))
        return cursor.fetchone()

    def insert(self, cursor: Any, entity: str, values: dict[str, Any], unless_there: bool = False) -> bool:
        named = {self.place.column(f): v for f, v in values.items()}
        if self.place.uuid_keys:
            named = {"id": str(uuid.UUID(int=self.random.getrandbits(128), version=4)), **named}
        marks = ", ".join(["%s"] * len(named))
        ignore = "IGNORE " if unless_there and self.place.maria else ""
        skip = " ON CONFLICT DO NOTHING" if unless_there and not self.place.maria else ""
        cursor.execute(f"INSERT {ignore}INTO {entity} ({', '.join(named)}) VALUES ({marks}){skip}", [*named.values()])
        return bool(cursor.rowcount)

    def remove(self, cursor: Any, entity: str, fields: Sequence[str], which: Callable[[str], bool]) -> bool:
        found = self.pick(cursor, entity, [self.place.column(f) for f in fields], which)
        if found is None:
            return False
        key, code, *old = found
        cursor.execute(f"DELETE FROM {entity} WHERE id = %s", (key,))
        for field, before in zip(fields, old, strict=True):
            self.note(cursor, entity, code, field, before, None)
        self.note(cursor, entity, code, "", "there", None)
        return True

    def note(self, cursor: Any, entity: str, code: str, field: str, old: str | None, new: str | None) -> None:
        cursor.execute(
            "INSERT INTO ledger (entity, code, field, old, new) VALUES (%s, %s, %s, %s, %s)",
            (entity, code, field, old, new),
        )


def even(code: str) -> bool:
    return code[-1] in "02468"


def again(error: Exception) -> bool:
    """Did the server give up this transaction, as it does under load?"""
    return isinstance(error, AGAIN) or (
        isinstance(error, pymysql.Error) and error.args[:1] in [(n,) for n in AGAIN_MARIA]
    )


def gone(error: Exception) -> bool:
    """Is the server away?"""
    if isinstance(error, pymysql.Error):
        return error.args[:1] in [(n,) for n in GONE_MARIA]
    return isinstance(error, psycopg.OperationalError) and not isinstance(error, AGAIN)
