"""Conversion between stored and canonical values, without a database."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.convert import MYSQL, POSTGRESQL, SQLITE, Dialect, constant, decoder, encoder, is_text, key_text, say
from config.errors import Halt
from config.records import Column, Raw, Table, TableInfo, Value

DIALECTS = [SQLITE, POSTGRESQL, MYSQL]


def table(timezone: str = "UTC", blank: str | None = None) -> Table:
    info = TableInfo(None, "t", {}, ("id",))
    return Table("e", "crm", None, "t", (), (), (), info, timezone=timezone, blank=blank)


def column(kind: str, native: str = "", **more: Any) -> Column:
    return Column("c", kind, native or {"text": "VARCHAR(20)"}.get(kind, kind), **more)


def decode(col: Column, type: str, raw: Raw, dialect: Dialect = SQLITE, **more: Any) -> Value:
    return decoder(col, type, table(**more), dialect)(raw)


def encode(col: Column, type: str, value: Value, dialect: Dialect = SQLITE, sample: Raw = None, **more: Any) -> Any:
    return encoder(col, type, table(**more), dialect, sample)(value)


@pytest.mark.parametrize(
    ("kind", "type", "raw", "value"),
    [
        ("text", "text", "x ", "x "),
        ("text", "text", "", None),
        ("text", "text", " \t", None),
        ("text", "text", b"bytes", "bytes"),
        ("int", "int", 5, 5),
        ("int", "int", "5", 5),
        ("int", "int", 5.0, 5),
        ("decimal", "int", "5.00", 5),
        ("decimal", "decimal", b"12.50", Decimal("12.50")),
        ("decimal", "decimal", 12, Decimal(12)),
        ("float", "decimal", 0.1, Decimal("0.1")),
        ("float", "decimal", 1e-7, Decimal("1E-7")),
        ("float", "decimal", "1e+20", Decimal("1E+20")),
        ("bool", "bool", 1, True),
        ("bool", "bool", "f", False),
        ("bool", "bool", b"\x01", True),
        ("bool", "bool", b"\x00", False),
        ("bool", "bool", 1.0, True),
        ("text", "bool", "YES", True),
        ("text", "bool", " n ", False),
        ("text", "bool", "", None),
        ("date", "date", "2026-11-24", date(2026, 11, 24)),
        ("datetime", "date", "2026-11-24 23:30:00", date(2026, 11, 24)),
        ("datetime", "datetime", "2026-11-24 10:00:00.5", datetime(2026, 11, 24, 10, 0, 0, 500000, UTC)),
        ("datetime", "datetime", "2026-11-24T10:00:00+02:00", datetime(2026, 11, 24, 8, tzinfo=UTC)),
        ("datetime", "datetime", "2026-11-24 10:00:00-03", datetime(2026, 11, 24, 13, tzinfo=UTC)),
        ("int", "datetime", 86400, datetime(1970, 1, 2, tzinfo=UTC)),
        ("float", "datetime", -0.5, datetime(1969, 12, 31, 23, 59, 59, 500000, UTC)),
        ("time", "text", "10:00:00.500000", "10:00:00.5"),
        ("time", "text", "10:00:00.000000", "10:00:00"),
        ("bytes", "bytes", b"\x00", b"\x00"),
        ("bytes", "bytes", b"", b""),
        ("bytes", "text", b"\x00\xff", "00ff"),
        ("int", "ref", 7, "7"),
        ("text", "ref", "", None),
        ("float", "ref", 7.0, "7"),
        ("float", "text", 2.0, "2"),
    ],
)
def test_decode(kind: str, type: str, raw: Raw, value: Value) -> None:
    decoded = decode(column(kind), type, raw)
    assert decoded == value and decoded.__class__ is value.__class__
    assert decode(column(kind), type, None) is None


@pytest.mark.parametrize(
    ("type", "raw", "says"),
    [
        ("int", "1_000", "'1_000' is not a whole number"),
        ("int", 1.5, "'1.5' is not a whole number"),
        ("int", "٣", "is not a whole number"),
        ("decimal", "1_0", "'1_0' is not a number"),
        ("decimal", "Infinity", "'Infinity' is not a number"),
        ("decimal", float("inf"), "'inf' is not a number that has a decimal form"),
        ("decimal", "1,5", "'1,5' is not a number"),
        ("bool", 2, "'2' is neither true nor false"),
        ("bool", b"\x02", "neither true nor false"),
        ("date", "24.11.2026", "'24.11.2026' is not a date"),
        ("date", "2026-02-30", "is not a date"),
        ("datetime", "0000-00-00 00:00:00", "is a zero date"),
        ("datetime", "-infinity", "no other system knows infinity"),
        ("datetime", "0044-03-15 00:00:00 BC", "is not a date and time"),
        ("datetime", 10**18, "out of range"),
        ("text", b"\xff", "its bytes are not UTF-8"),
        ("decimal", "x" * 200, "…' is not a number"),
    ],
)
def test_what_does_not_convert_says_why(type: str, raw: Raw, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        decode(column("text"), type, raw)


def test_padding_means_nothing_and_other_blanks_do() -> None:
    assert decode(column("text", padded=True), "text", "ab  ") == "ab"
    assert decode(column("text", padded=True), "text", " ab") == " ab"
    assert decode(column("text"), "text", "ab  ") == "ab  "


def test_a_column_of_an_unknown_type_is_named() -> None:
    with pytest.raises(Halt, match=r"t\.c has the type point"):
        decoder(column("", "point"), "text", table(), SQLITE)
    with pytest.raises(Halt, match="no type"):
        decoder(Column("c", "", ""), "text", table(), SQLITE)


@pytest.mark.parametrize(
    ("kind", "type", "value", "typed", "text"),
    [
        ("int", "int", 5, 5, "5"),
        ("int", "bool", True, 1, "1"),
        ("int", "ref", "7", 7, "7"),
        ("int", "decimal", Decimal("5.00"), 5, "5"),
        ("decimal", "decimal", Decimal("1E+3"), "1000", "1000"),
        ("decimal", "decimal", Decimal("0.10"), "0.10", "0.10"),
        ("float", "decimal", Decimal("0.1"), 0.1, "0.1"),
        ("text", "decimal", Decimal("1E-7"), "0.0000001", "0.0000001"),
        ("text", "int", 5, "5", "5"),
        ("text", "bool", True, "true", "true"),
        ("date", "date", date(999, 1, 2), "0999-01-02", "0999-01-02"),
        ("date", "datetime", datetime(2026, 1, 2, 23, tzinfo=UTC), "2026-01-02", "2026-01-02"),
        ("datetime", "date", date(2026, 1, 2), "2026-01-02 00:00:00", "2026-01-02 00:00:00"),
        ("bytes", "bytes", b"\xff", b"\xff", "\\xff"),
        ("bytes", "text", "00ff", b"\x00\xff", "\\x00ff"),
        ("bool", "bool", True, 1, "true"),
    ],
)
def test_encode(kind: str, type: str, value: Value, typed: Any, text: str) -> None:
    for dialect, expected in ((SQLITE, typed), (MYSQL, typed), (POSTGRESQL, text)):
        encoded = encode(column(kind), type, value, dialect)
        assert encoded == expected and encoded.__class__ is expected.__class__


@pytest.mark.parametrize(
    ("kind", "type", "value"),
    [
        ("int", "int", 2**64),
        ("int", "int", -(2**63) - 1),
        ("int", "decimal", Decimal("1.5")),
        ("int", "ref", "abc"),
        ("bytes", "text", "no hex"),
        ("bytes", "int", 5),
        ("datetime", "text", "soon"),
        ("date", "text", "soon"),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_a_column_cannot_hold(kind: str, type: str, value: Value, dialect: Dialect) -> None:
    with pytest.raises(ValueError, match="'"):
        encode(column(kind), type, value, dialect)


@pytest.mark.parametrize(
    ("sample", "length", "pair"),
    [
        (None, 1, ("N", "Y")),
        (None, 5, ("false", "true")),
        ("t", 1, ("f", "t")),
        ("F", 1, ("F", "T")),
        ("y", 1, ("n", "y")),
        ("0", 1, ("0", "1")),
        ("No", 3, ("No", "Yes")),
        ("FALSE", 9, ("FALSE", "TRUE")),
        ("odd", 9, ("false", "true")),
    ],
)
def test_booleans_in_text_columns_keep_their_spelling(sample: Raw, length: int, pair: tuple[str, str]) -> None:
    col = column("text", length=length)
    assert tuple(encode(col, "bool", value, sample=sample) for value in (False, True)) == pair


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (None, "2026-11-24 10:00:00.500000"),
        ("2020-01-01 00:00:00", "2026-11-24 10:00:00.500000"),
        ("2020-01-01T00:00:00", "2026-11-24T10:00:00.500000"),
        ("2020-01-01 00:00:00.000", "2026-11-24 10:00:00.500"),
        ("2020-01-01T00:00:00Z", "2026-11-24T10:00:00.500000Z"),
        ("2020-01-01 00:00:00.1+00:00", "2026-11-24 10:00:00.500000+00:00"),
    ],
)
def test_times_in_text_keep_their_spelling(sample: Raw, text: str) -> None:
    moment = datetime(2026, 11, 24, 10, 0, 0, 500000, UTC)
    assert encode(column("text"), "datetime", moment, sample=sample) == text
    assert encode(column("datetime"), "datetime", moment, sample=sample) == text


def test_times_that_are_numbers_stay_numbers() -> None:
    moment = datetime(1970, 1, 1, 0, 0, 1, 500000, UTC)
    assert encode(column("datetime"), "datetime", moment, sample=7) == 1
    assert encode(column("datetime"), "datetime", moment, sample=7.5) == 1.5


def test_fractions_are_cut_to_the_column() -> None:
    moment = datetime(2026, 11, 24, 10, 0, 0, 999999, UTC)
    for digits, text in ((0, "10:00:00"), (3, "10:00:00.999"), (6, "10:00:00.999999")):
        assert encode(column("datetime", fraction=digits), "datetime", moment, MYSQL) == f"2026-11-24 {text}"


def test_zoned_columns_take_utc() -> None:
    moment = datetime(2026, 11, 24, 10, tzinfo=UTC)
    col = column("datetime", zoned=True, fraction=0)
    assert encode(col, "datetime", moment, POSTGRESQL, timezone="America/New_York") == "2026-11-24 10:00:00+00:00"
    assert encode(col, "datetime", moment, MYSQL, timezone="America/New_York") == "2026-11-24 10:00:00"
    assert decode(col, "datetime", "2026-11-24 10:00:00", MYSQL, timezone="America/New_York") == moment


def test_blank() -> None:
    may, must = column("text"), column("text", nullable=False)
    assert encode(may, "text", None) is None
    assert encode(may, "text", None, blank="") == ""
    assert encode(must, "text", None) == ""
    assert encode(column("int", nullable=False), "int", None, blank="") is None
    assert encode(column("text", "uuid"), "text", None, blank="") is None
    assert encode(column("text", "json", nullable=False), "text", None, blank="") is None


def test_which_columns_may_hold_an_empty_text() -> None:
    assert all(
        is_text(column("text", n)) for n in ("VARCHAR(20)", "text", "CHAR(3)", "character varying(5)", "LONGTEXT")
    )
    assert not any(is_text(column("text", n)) for n in ("uuid", "JSON", "enum('a')", "inet"))


def test_constants() -> None:
    assert constant(column("bool"), True, SQLITE) == 1
    assert constant(column("bool"), 1, POSTGRESQL) == "1"
    assert constant(column("bool"), False, POSTGRESQL) == "false"
    assert constant(column("int"), True, MYSQL) == 1
    assert constant(column("text", length=1), True, SQLITE) == "Y"
    assert constant(column("text"), "x", SQLITE) == "x"
    assert constant(column("text"), None, SQLITE) is None


def test_keys_are_one_text_whatever_the_driver_gives() -> None:
    assert {key_text(column("int"), raw, SQLITE) for raw in (7, "7", 7.0, "07")} == {"7"}
    assert key_text(column("int"), "abc", SQLITE) == "abc"
    assert key_text(column("text", padded=True), "ab ", MYSQL) == "ab"
    assert key_text(column("text"), " 007", SQLITE) == " 007"
    assert key_text(column("bytes"), b"\x0a", MYSQL) == key_text(column("bytes"), "\\x0a", POSTGRESQL) == "0a"


def test_say_cuts() -> None:
    assert say("x" * 100) == f"'{'x' * 60}…'"
    assert say(b"\xff") == "'\ufffd'"


moments = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@given(moments, st.sampled_from(DIALECTS), st.booleans())
def test_moments_come_back(moment: datetime, dialect: Dialect, zoned: bool) -> None:
    col = column("datetime", zoned=zoned, fraction=6)
    assert decode(col, "datetime", encode(col, "datetime", moment, dialect), dialect) == moment


@given(moments, st.sampled_from(["America/New_York", "Europe/Lisbon", "Asia/Kathmandu"]))
def test_local_times_come_back_but_for_the_repeated_hour(moment: datetime, zone: str) -> None:
    col = column("datetime", fraction=6)
    back = decode(col, "datetime", encode(col, "datetime", moment, timezone=zone), timezone=zone)
    assert isinstance(back, datetime)
    assert back == moment or timedelta(0) < moment - back <= timedelta(hours=2)
    again = decode(col, "datetime", encode(col, "datetime", back, timezone=zone), timezone=zone)
    assert again == back


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6), st.sampled_from(DIALECTS))
def test_decimals_come_back(value: Decimal, dialect: Dialect) -> None:
    for kind, sample in (("decimal", None), ("text", None), ("decimal", b"1.5")):
        col = column(kind)
        assert decode(col, "decimal", encode(col, "decimal", value, dialect, sample), dialect) == value


@given(st.binary(), st.sampled_from(DIALECTS))
def test_bytes_come_back(value: bytes, dialect: Dialect) -> None:
    assert decode(column("bytes"), "bytes", encode(column("bytes"), "bytes", value, dialect), dialect) == value


@given(st.text())
def test_any_raw_either_converts_or_says_why(text: str) -> None:
    for type in ("text", "int", "decimal", "bool", "date", "datetime", "ref"):
        try:
            decode(column("text"), type, text)
        except ValueError as error:
            assert str(error).startswith("'")


def test_offsets_with_seconds() -> None:
    """Zones of the nineteenth century; the database shows them as they were."""
    moment = datetime(1850, 1, 1, tzinfo=timezone(timedelta(minutes=53, seconds=28)))
    assert decode(column("datetime", zoned=True), "datetime", "1850-01-01 00:00:00+00:53:28", POSTGRESQL) == moment
