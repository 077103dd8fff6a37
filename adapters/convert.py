"""Between what a column holds and the one form in which systems are compared: raw -> canonical, canonical -> parameter.

Shared by all adapters. A `Dialect` says the little in which they differ. Spellings that a column's type does not tell
(booleans and times kept as text, decimals kept as bytes) follow a `sample`: any value that stands in the column now.
Without one: a boolean in a text column of one character is written Y or N, in a longer one true or false; a date-time
in a text column is written `2026-11-24 09:15:00`, with a fraction only when it is not zero.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from config.errors import Halt, Problem
from config.records import Column, Raw, Table, Value

Decoder = Callable[[Raw], Value]
Encoder = Callable[[Value], Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Dialect(NamedTuple):
    """How a driver takes parameters."""

    typed: bool  # numbers and bytes go in as Python's own; else everything goes in as text
    bools: tuple[Any, Any]  # false and true of a bool column
    hex_bytes: bool = False  # bytes come and go as '\\x68656c6c6f'
    offsets: bool = False  # a date-time with time zone is written with its offset (else: in UTC, without one)
    highest: int = 2**63 - 1  # the largest integer that any column holds


SQLITE = Dialect(typed=True, bools=(0, 1), offsets=True)
POSTGRESQL = Dialect(typed=False, bools=("false", "true"), hex_bytes=True, offsets=True)
MYSQL = Dialect(typed=True, bools=(0, 1), highest=2**64 - 1)

_INT = re.compile(r"[+-]?\d+(\.0*)?\Z", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)
_FRACTION = re.compile(r"\.(\d+)")

SPELLINGS = (("f", "t"), ("false", "true"), ("n", "y"), ("no", "yes"), ("0", "1"), ("off", "on"))
"""(false, true) as applications spell them in text columns; case does not matter for reading."""

_BOOLS: dict[str, bool] = {word: value for pair in SPELLINGS for word, value in zip(pair, (False, True), strict=True)}
_TEXTS = frozenset(("text", "tinytext", "mediumtext", "longtext", "clob", "citext", "string"))
_CHARS = ("char", "varchar", "nchar", "nvarchar", "bpchar", "character")


def say(raw: object) -> str:
    """A value as it is shown in a message: quoted, and cut when it is long."""
    text = raw if isinstance(raw, str) else raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
    return f"'{text[:60]}…'" if len(text) > 60 else f"'{text}'"


# --- raw -> canonical ------------------------------------------------------------------------------------------------


def decoder(column: Column, type: str, table: Table, dialect: Dialect) -> Decoder:
    """The function that turns what `column` holds into a canonical value of `type`.

    It raises ValueError with a plain sentence when a value does not convert.
    """
    if not column.kind:
        raise unknown(column, table)
    inner = _decoder(column, type, table, dialect)

    def decode(raw: Raw) -> Value:
        return None if raw is None else inner(raw)

    return decode


def unknown(column: Column, table: Table) -> Halt:
    """A column in use is of a type that has no canonical form."""
    type = f"the type {column.native}" if column.native else "no type"
    message = f"the column {table.name}.{column.name} has {type}, which Accord does not know."
    hint = "leave the column out of the mapping, or map a view or a generated column that shows it as text"
    return Halt(Problem("unknown-type", message, hint, system=table.system, entity=table.entity, field=column.name))


def _decoder(column: Column, type: str, table: Table, dialect: Dialect) -> Callable[[Any], Value]:
    zone = UTC if column.zoned else ZoneInfo(table.timezone)
    plain: dict[str, Callable[[Any], Value]] = {
        "int": _blank_is_none(to_int),
        "decimal": _blank_is_none(to_decimal),
        "bool": _blank_is_none(to_bool),
        "date": _blank_is_none(lambda raw: to_date(raw, zone)),
        "datetime": _blank_is_none(lambda raw: to_datetime(raw, zone)),
        "bytes": (lambda raw: to_bytes(raw, dialect.hex_bytes)),
        "ref": _blank_is_none(lambda raw: key_text(column, raw, dialect)),
    }
    return plain.get(type) or _text_decoder(column, dialect)


def _blank_is_none(inner: Callable[[Any], Value]) -> Callable[[Any], Value]:
    return lambda raw: None if isinstance(raw, (str, bytes)) and not raw.strip() else inner(raw)


def _text_decoder(column: Column, dialect: Dialect) -> Callable[[Any], Value]:
    if column.kind == "bytes":
        return lambda raw: to_bytes(raw, dialect.hex_bytes).hex() or None
    if column.kind == "time":
        return lambda raw: _short_fraction(to_text(raw)) or None
    if column.kind in ("int", "decimal", "float"):
        return lambda raw: _number_text(raw)

    def decode(raw: Any) -> Value:
        text = raw if isinstance(raw, str) else to_text(raw)
        if column.padded:
            text = text.rstrip(" ")
        return text if text.strip() else None

    return decode


def to_text(raw: Raw) -> str:
    """Text as it is; numbers in their shortest spelling; bytes must be UTF-8."""
    if isinstance(raw, bytes):
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{say(raw)} is not text: its bytes are not UTF-8") from None
    return raw if isinstance(raw, str) else repr(raw)


def _number_text(raw: Raw) -> str | None:
    text = to_text(raw).strip()
    return text.removesuffix(".0") if isinstance(raw, float) else text or None


def to_int(raw: Raw) -> int:
    if isinstance(raw, int):
        return int(raw)
    if isinstance(raw, float):
        if raw.is_integer():
            return int(raw)
    elif raw is not None:
        text = to_text(raw).strip()
        if _INT.match(text):
            return int(text.partition(".")[0])
    raise ValueError(f"{say(raw)} is not a whole number")


def to_decimal(raw: Raw) -> Decimal:
    """Exact. A float stands for the exact decimal of its shortest spelling: 0.1 is 0.1."""
    if isinstance(raw, float) and not math.isfinite(raw):
        raise ValueError(f"{say(raw)} is not a number that has a decimal form")
    text = to_text(raw).strip()
    if _NUMBER.match(text):
        return Decimal(text)
    raise ValueError(f"{say(raw)} is not a number")


def to_bool(raw: Raw) -> bool:
    if isinstance(raw, bytes) and len(raw) == 1 and raw[0] in (0, 1):  # BIT(1)
        return raw[0] == 1
    word = (to_text(raw).strip() if not isinstance(raw, float) else f"{raw:g}").lower()
    if word in _BOOLS:
        return _BOOLS[word]
    raise ValueError(f"{say(raw)} is neither true nor false (known: 0/1, t/f, true/false, Y/N, yes/no)")


def to_date(raw: Raw, zone: Any) -> date:
    if isinstance(raw, str) and len(raw) == 10:
        return _iso(raw, "date").date()
    return to_datetime(raw, zone, "date").astimezone(zone).date()


def to_datetime(raw: Raw, zone: Any, what: str = "date and time") -> datetime:
    """Aware and in UTC. A text without offset is local time of `zone`; a number is seconds since 1970 in UTC."""
    if isinstance(raw, (int, float)):
        try:
            return EPOCH + timedelta(microseconds=int(Decimal(repr(raw)) * 1_000_000))
        except (OverflowError, ValueError, ArithmeticError):
            raise ValueError(f"{say(raw)} is not a {what}: out of range") from None
    moment = _iso(to_text(raw).strip(), what)
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{say(raw)} is not a {what} that every system can hold") from None


def _iso(text: str, what: str) -> datetime:
    if "infinity" in text:
        raise ValueError(f"{say(text)} is not a {what}: no other system knows infinity")
    if text.startswith("0000-00-00"):
        raise ValueError(f"{say(text)} is a zero date, which is no {what}")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{say(text)} is not a {what}") from None


def to_bytes(raw: Raw, hex_bytes: bool = False) -> bytes:
    if isinstance(raw, bytes):
        return raw
    if hex_bytes and isinstance(raw, str) and raw.startswith("\\x"):
        return bytes.fromhex(raw[2:])
    return to_text(raw).encode()


def key_text(column: Column, raw: Raw, dialect: Dialect) -> str:
    """One key column as text; the same for the key, for a reference to it, and for what a trigger wrote."""
    if column.kind == "bytes" and (isinstance(raw, bytes) or dialect.hex_bytes):
        return to_bytes(raw, dialect.hex_bytes).hex()
    if column.kind == "int" or isinstance(raw, (int, float)):
        try:
            return str(to_int(raw))
        except ValueError:
            return to_text(raw)
    text = to_text(raw)
    return text.rstrip(" ") if column.padded else text


# --- canonical -> parameter ------------------------------------------------------------------------------------------


def encoder(column: Column, type: str, table: Table, dialect: Dialect, sample: Raw = None) -> Encoder:
    """The function that turns a canonical value into a parameter for `column`.

    It raises ValueError with a plain sentence when the column cannot hold the value. `sample`: see the module.
    """
    inner = _encoder(column, type, table, dialect, sample)
    empty = "" if is_text(column) and (table.blank == "" or not column.nullable) else None

    def encode(value: Value) -> Any:
        return empty if value is None else inner(value)

    return encode


def is_text(column: Column) -> bool:
    """May the column hold an empty text? (A uuid, json or enum column may not.)"""
    word = re.split(r"[ (]", column.native.lower(), maxsplit=1)[0]
    return column.kind == "text" and (word in _TEXTS or word in _CHARS)


def constant(column: Column, value: Value, dialect: Dialect) -> Any:
    """A constant of the configuration (`archive`, `insert`, `stamp`) as a parameter: true and false by the column."""
    if value is None:
        return None
    if isinstance(value, bool) and column.kind != "text":
        return dialect.bools[value] if column.kind == "bool" else (int(value) if dialect.typed else str(int(value)))
    if isinstance(value, bool):
        return _bool_spelling(column, None)[value]
    if column.kind in ("int", "bool") and isinstance(value, int):
        return value if dialect.typed else str(value)
    return format(value, "f") if isinstance(value, Decimal) else value if dialect.typed else str(value)


def _encoder(column: Column, type: str, table: Table, dialect: Dialect, sample: Raw) -> Callable[[Any], Any]:
    zone = ZoneInfo(table.timezone)
    match column.kind:
        case "int":
            return lambda value: _sized(_to_whole(value, zone), column, dialect)
        case "decimal":
            return lambda value: _decimal(value, sample)
        case "float":
            return lambda value: float(value) if dialect.typed else repr(float(value))
        case "bool":
            false, true = _bool_spelling(column, sample) if isinstance(sample, str) and dialect.typed else dialect.bools
            return lambda value: true if to_bool(_as_raw(value)) else false
        case "date":
            return lambda value: _local(value, zone).strftime("%Y-%m-%d").zfill(10)
        case "datetime":
            return _datetime_encoder(column, zone, dialect, sample)
        case "bytes":
            return lambda value: _bytes(value, type, dialect)
        case _:
            return _text_encoder(column, type, zone, sample)


def _text_encoder(column: Column, type: str, zone: Any, sample: Raw) -> Callable[[Any], Any]:
    if type == "bool":
        false, true = _bool_spelling(column, sample)
        return lambda value: true if value else false
    if type == "datetime":
        return _datetime_encoder(column, zone, SQLITE, sample)

    def encode(value: Any) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, Decimal):
            return format(value, "f")
        return value.hex() if isinstance(value, bytes) else str(value)

    return encode


def _as_raw(value: Any) -> Raw:
    return int(value) if isinstance(value, (bool, Decimal)) else value


def _to_whole(value: Any, zone: Any) -> int:
    if isinstance(value, datetime):
        return int(value.timestamp())
    if isinstance(value, Decimal):
        if value != value.to_integral_value():
            raise ValueError(f"{say(value)} is not a whole number")
        return int(value)
    return to_int(int(value) if isinstance(value, bool) else value)


def _sized(value: int, column: Column, dialect: Dialect) -> Any:
    # Only the widest is checked here, because a driver would fail on it; what a narrower column allows (unsigned or
    # not) the database itself says best.
    if not -(2**63) <= value <= dialect.highest:
        raise ValueError(f"{say(value)} is too large for {column.native}")
    return value if dialect.typed else str(value)


def _decimal(value: Any, sample: Raw) -> Any:
    if not isinstance(value, Decimal):
        value = to_decimal(_as_raw(value))
    text = format(value, "f")
    return text.encode() if isinstance(sample, bytes) else text


def _bool_spelling(column: Column, sample: Raw) -> tuple[Any, Any]:
    word = sample.strip() if isinstance(sample, str) else ""
    for false, true in SPELLINGS:
        if word.lower() in (false, true):
            change = str.upper if word.isupper() else str.capitalize if word.istitle() and len(word) > 1 else str
            return change(false), change(true)
    return ("N", "Y") if column.length == 1 else ("false", "true")


def _local(value: Any, zone: Any) -> date:
    return (
        value.astimezone(zone)
        if isinstance(value, datetime)
        else value
        if isinstance(value, date)
        else _iso(value, "date")
    )


def _bytes(value: Any, type: str, dialect: Dialect) -> Any:
    if isinstance(value, str):
        try:
            value = bytes.fromhex(value)
        except ValueError:
            raise ValueError(f"{say(value)} is not hexadecimal, so it cannot be kept as bytes") from None
    if not isinstance(value, bytes):
        raise ValueError(f"{say(value)} cannot be kept as bytes")
    return "\\x" + value.hex() if dialect.hex_bytes else value


def _datetime_encoder(column: Column, zone: Any, dialect: Dialect, sample: Raw) -> Callable[[Any], Any]:
    if isinstance(sample, (int, float)):
        kind = int if isinstance(sample, int) else float
        return lambda value: kind(_moment(value, zone).timestamp())
    text = sample if isinstance(sample, str) else ""
    between = "T" if text[10:11] == "T" else " "
    zulu, offset = text.endswith("Z"), re.search(r"[+-]\d\d:?\d\d\Z", text[10:]) is not None
    digits = column.fraction
    if text and dialect is SQLITE:
        found = _FRACTION.search(text)
        digits = len(found[1]) if found is not None and len(found[1]) in (3, 6) else None

    def encode(value: Any) -> str:
        moment = _moment(value, zone)
        aware = column.zoned or zulu or offset
        local = moment.astimezone(UTC if aware else zone)
        base = f"{local:%Y-%m-%d}".zfill(10) + f"{between}{local:%H:%M:%S}" + _fraction(local.microsecond, digits)
        if zulu:
            return base + "Z"
        return base + "+00:00" if offset or (column.zoned and dialect.offsets) else base

    return encode


def _moment(value: Any, zone: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=zone)
    raise ValueError(f"{say(value)} is not a date and time")


def _fraction(microsecond: int, digits: int | None) -> str:
    # What is beyond the column's digits is cut, never rounded: a rounded time could lie in the future.
    if digits is None:
        return f".{microsecond:06d}" if microsecond else ""
    return f".{microsecond:06d}"[: digits + 1] if digits else ""


def _short_fraction(text: str) -> str:
    head, point, tail = text.partition(".")
    return f"{head}.{tail.rstrip('0')}" if point and tail.rstrip("0") else head
