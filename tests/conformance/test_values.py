"""Every kind of value: read as what it is, written as the application itself would have stored it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from config.records import Landing, Value
from tests.conformance.backend import Backend, Database
from tests.conformance.world import World

EMOJI = "Grüße 😀 'x' \"y\" \\n %s ; --\n\tend"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


CASES: list[tuple[str, str, str, Value]] = [
    ("text", "text", "'plain'", "plain"),
    ("long", "text", "'plain'", "plain"),
    ("char10", "text", "'ab'", "ab"),
    ("int", "int", "-42", -42),
    ("bigint", "int", "4611686018427387904", 2**62),
    ("decimal", "decimal", "12.50", Decimal("12.5")),
    ("decimal", "decimal", "-9999999999.99", Decimal("-9999999999.99")),
    ("decimal", "decimal", "0.10", Decimal("0.1")),
    ("double", "decimal", "0.1", Decimal("0.1")),
    ("double", "decimal", "12345.678", Decimal("12345.678")),
    ("real", "decimal", "0.1", Decimal("0.1")),
    ("real", "decimal", "1.5", Decimal("1.5")),
    ("bool", "bool", "true", True),
    ("bool", "bool", "false", False),
    ("int", "bool", "1", True),
    ("int", "bool", "0", False),
    ("char1", "bool", "'Y'", True),
    ("char1", "bool", "'N'", False),
    ("char1", "bool", "'t'", True),
    ("char1", "bool", "'f'", False),
    ("text20", "bool", "'true'", True),
    ("text20", "bool", "'No'", False),
    ("date", "date", "'2026-11-24'", date(2026, 11, 24)),
    ("datetime", "datetime", "'2026-11-24 10:00:00.123456'", utc(2026, 11, 24, 10, 0, 0, 123456)),
    ("seconds", "datetime", "'2026-11-24 10:00:00'", utc(2026, 11, 24, 10)),
    ("zoned", "datetime", "2026-11-24 10:00:00.500000", utc(2026, 11, 24, 10, 0, 0, 500000)),
    ("text", "decimal", "'12.50'", Decimal("12.50")),
    ("text", "int", "'42'", 42),
    ("text", "date", "'2026-11-24'", date(2026, 11, 24)),
    ("text", "datetime", "'2026-11-24T10:00:00Z'", utc(2026, 11, 24, 10)),
    ("time", "text", "'10:20:30'", "10:20:30"),
    ("json", "text", '\'{"a": [1, "ü"]}\'', '{"a": [1, "ü"]}'),
    ("uuid", "text", "'8c7e5b1a-0b0f-4d6e-9d8e-0123456789ab'", "8c7e5b1a-0b0f-4d6e-9d8e-0123456789ab"),
    ("int", "ref", "7", "7"),
    ("text20", "ref", "'C-7'", "C-7"),
]


def one_column(backend: Backend, db: Database, type: str, canonical: str, **options: Any) -> World:
    world = World(backend, db)
    world.create("t", {"id": "auto", "v": type})
    world.bind({"t": ("t", {"v": f"v:{canonical}"}, options)}).start()
    return world


def stored(world: World) -> list[Any]:
    return [row[0] for row in world.db.sql(f"SELECT {world.backend.text('v')} FROM t ORDER BY id")]


@pytest.mark.parametrize(("type", "canonical", "literal", "value"), CASES)
def test_read_and_write(backend: Backend, db: Database, type: str, canonical: str, literal: str, value: Value) -> None:
    """Row 1 is stored by the application, rows 2 and 3 by Accord: an update and an insert store the very same."""
    world = one_column(backend, db, type, canonical)
    literal = backend.zoned(literal) if type == "zoned" else literal
    db.sql(f"INSERT INTO t (id, v) VALUES (1, {literal})")
    db.sql("INSERT INTO t (id, v) VALUES (2, NULL)")
    assert world.values("t", "1")["v"] == value
    update, insert = world.apply("t", world.update("t", "2", {"v": value}), world.insert("t", {"v": value}))
    assert (update.landing, insert.landing) == (Landing.LANDED, Landing.LANDED), (update, insert)
    assert world.named("t", update.after)["v"] == world.named("t", insert.after)["v"] == value
    texts = stored(world)
    assert texts[0] == texts[1] == texts[2]


@pytest.mark.parametrize("type", ["text", "long"])
def test_any_text(backend: Backend, db: Database, type: str) -> None:
    world = one_column(backend, db, type, "text")
    db.sql("INSERT INTO t (id, v) VALUES (1, ?)", EMOJI)
    assert world.values("t", "1")["v"] == EMOJI
    (outcome,) = world.apply("t", world.insert("t", {"v": EMOJI}))
    assert outcome.landing is Landing.LANDED
    assert [row[0] for row in db.sql("SELECT v FROM t")] == [EMOJI, EMOJI]


def test_bytes(backend: Backend, db: Database) -> None:
    world = one_column(backend, db, "bytes", "bytes")
    value = bytes(range(256))
    db.sql(f"INSERT INTO t (id, v) VALUES (1, {backend.bytes(value)})")
    assert world.values("t", "1")["v"] == value
    (outcome,) = world.apply("t", world.insert("t", {"v": value[::-1]}))
    assert outcome.landing is Landing.LANDED
    rows = db.sql(f"SELECT {backend.hex('v')} FROM t ORDER BY id")
    assert [row[0] for row in rows] == [value.hex().upper(), value[::-1].hex().upper()]


def test_exact_decimals(backend: Backend, db: Database) -> None:
    world = one_column(backend, db, "exact", "decimal")
    db.sql(f"INSERT INTO t (id, v) VALUES (1, {backend.exact('12345678901234567890.1234567891')})")
    value = Decimal("12345678901234567890.1234567891")
    assert world.values("t", "1")["v"] == value
    (outcome,) = world.apply("t", world.insert("t", {"v": value}))
    assert world.named("t", outcome.after)["v"] == value
    assert len(set(stored(world))) == 1


@pytest.mark.parametrize("blank", [None, ""])
@pytest.mark.parametrize("null", ["", " NOT NULL"])
def test_empty_text(backend: Backend, db: Database, blank: str | None, null: str) -> None:
    world = one_column(backend, db, f"text{null}", "text", blank=blank)
    db.sql("INSERT INTO t (id, v) VALUES (1, ''), (2, '   '), (3, 'x')")
    if not null:
        db.sql("INSERT INTO t (id, v) VALUES (4, NULL)")
    assert {world.named("t", r.raws)["v"] for r in world.system.scan("t", None, 10)} == {None, "x"}
    update, insert = world.apply("t", world.update("t", "3", {"v": None}), world.insert("t", {"v": None}))
    assert (update.landing, insert.landing) == (Landing.LANDED, Landing.LANDED)
    expected = "" if blank == "" or null else None
    found = db.sql("SELECT v FROM t WHERE id IN (3, ?)", int(insert.key or 0))
    assert found == [(expected,), (expected,)]


@pytest.mark.parametrize(
    ("literal", "moment"),
    [
        ("'2026-07-01 12:00:00.000000'", utc(2026, 7, 1, 16)),
        ("'2026-01-15 12:00:00.000000'", utc(2026, 1, 15, 17)),
        ("'2026-11-01 00:30:00.000000'", utc(2026, 11, 1, 4, 30)),
        ("'2026-11-01 01:30:00.000000'", utc(2026, 11, 1, 5, 30)),  # comes twice: the first is meant
        ("'2026-11-01 02:30:00.000000'", utc(2026, 11, 1, 7, 30)),
    ],
)
def test_a_time_without_zone_is_the_systems_own(backend: Backend, db: Database, literal: str, moment: datetime) -> None:
    world = one_column(backend, db, "datetime", "datetime", timezone="America/New_York")
    db.sql(f"INSERT INTO t (id, v) VALUES (1, {literal})")
    assert world.values("t", "1")["v"] == moment
    (outcome,) = world.apply("t", world.insert("t", {"v": moment}))
    assert outcome.landing is Landing.LANDED
    texts = stored(world)
    assert texts[0] == texts[1]


def test_an_hour_that_the_clock_skips_is_read_all_the_same(backend: Backend, db: Database) -> None:
    world = one_column(backend, db, "datetime", "datetime", timezone="America/New_York")
    db.sql("INSERT INTO t (id, v) VALUES (1, '2026-03-08 02:30:00')")
    assert world.values("t", "1")["v"] in (utc(2026, 3, 8, 7, 30), utc(2026, 3, 8, 6, 30))


def test_the_dates_of_a_zone(backend: Backend, db: Database) -> None:
    """A date column against a date-time elsewhere: the day that it is there."""
    world = one_column(backend, db, "date", "datetime", timezone="America/New_York")
    db.sql("INSERT INTO t (id, v) VALUES (1, '2026-07-01')")
    assert world.values("t", "1")["v"] == utc(2026, 7, 1, 4)
    world.apply("t", world.insert("t", {"v": utc(2026, 7, 1, 3)}), world.insert("t", {"v": utc(2026, 7, 1, 5)}))
    assert stored(world) == ["2026-07-01", "2026-06-30", "2026-07-01"]


def test_a_finer_time_is_cut_to_what_the_column_keeps(backend: Backend, db: Database) -> None:
    world = one_column(backend, db, "seconds", "datetime")
    (outcome,) = world.apply("t", world.insert("t", {"v": utc(2026, 11, 24, 10, 0, 0, 900000)}))
    assert world.named("t", outcome.after)["v"] == utc(2026, 11, 24, 10)


@pytest.mark.parametrize(
    ("canonical", "text", "says"),
    [
        ("decimal", "3 apples", "'3 apples' is not a number"),
        ("decimal", "NaN", "'NaN' is not a number"),
        ("int", "12.5", "'12.5' is not a whole number"),
        ("bool", "maybe", "'maybe' is neither true nor false"),
        ("date", "yesterday", "'yesterday' is not a date"),
        ("datetime", "2026-13-01 00:00:00", "is not a date and time"),
        ("datetime", "0000-00-00 00:00:00", "zero date"),
        ("datetime", "infinity", "infinity"),
    ],
)
def test_a_value_that_does_not_convert_says_why(
    backend: Backend, db: Database, canonical: str, text: str, says: str
) -> None:
    world = one_column(backend, db, "text", canonical)
    db.sql("INSERT INTO t (id, v) VALUES (1, ?)", text)
    raws = world.reading("t", "1").raws
    with pytest.raises(ValueError, match=says):
        world.named("t", raws)


def test_a_value_that_the_column_cannot_hold_is_rejected(backend: Backend, db: Database) -> None:
    world = one_column(backend, db, "int", "int")
    db.sql("INSERT INTO t (id, v) VALUES (1, 5), (2, 6)")
    huge, fine = world.apply("t", world.update("t", "1", {"v": 2**70}), world.update("t", "2", {"v": 7}))
    assert huge.landing is Landing.REJECTED and huge.message
    assert fine.landing is Landing.LANDED
    assert db.sql("SELECT v FROM t ORDER BY id") == [(5,), (7,)]


def test_fields_without_a_place(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("t", {"id": "auto", "v": "text"})
    world.bind({"t": ("t", {"a": None, "v": "v", "b": None}, {})}).start()
    db.sql("INSERT INTO t (id, v) VALUES (1, 'x')")
    assert [d is None for d in world.system.decoders("t")] == [True, False, True]
    reading = world.reading("t", "1")
    assert (reading.raws[0], reading.raws[2]) == (None, None)
    (outcome,) = world.apply("t", world.update("t", "1", {"v": "y"}))
    assert world.named("t", outcome.after) == {"a": None, "v": "y", "b": None}


def test_raws_survive_storage(backend: Backend, db: Database) -> None:
    """The state keeps raws; what it gives back must compare equal."""
    import msgspec

    world = World(backend, db)
    types = ["int", "text", "decimal", "double", "bool", "bytes", "datetime", "json"]
    world.create("t", {"id": "auto", **{f"c_{type}": type for type in types}})
    db.sql(
        "INSERT INTO t (id, c_int, c_text, c_decimal, c_double, c_bool, c_bytes, c_datetime, c_json) VALUES"
        f" (1, 1, ?, 1.50, 0.1, true, {backend.bytes(bytes((0, 255)))}, '2026-11-24 10:00:00.5', '{{\"a\": 1}}')",
        EMOJI,
    )
    world.bind({"t": ("t", {type: f"c_{type}" for type in types}, {})})
    raws = world.reading("t", "1").raws
    assert tuple(msgspec.msgpack.decode(msgspec.msgpack.encode(raws))) == raws
