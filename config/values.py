"""The forms in which values are written in the configuration, and how each is read.

A `Form` is all that Accord knows of one kind of value: how a person writes it (for the reference), how an editor
checks it (JSON Schema), and how it is read. Reading raises `ValueError` with a sentence for the person who wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from config.formats.parse import chain, parse
from config.records import Value
from config.secrets import REFERENCE, check_reference
from config.urls import parse_url
from config.words import nearest, shown, suggestion

T = TypeVar("T")
Map = tuple[tuple[str, str], ...]
"""(what a system holds, the agreed word), in order."""


@dataclass(frozen=True, slots=True)
class Form:
    """One kind of value: `text` says how it is written, `schema` is its JSON Schema, `read` turns it into ours."""

    text: str
    schema: Mapping[str, Any]
    read: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)


class Wrong(ValueError):
    """A value inside of a value is wrong: `at` is the path of keys that leads to it."""

    def __init__(self, at: str, cause: ValueError | str) -> None:
        super().__init__(str(cause))
        self.at = (at, *getattr(cause, "at", ()))


def expected(what: str, value: object) -> ValueError:
    return ValueError(f"expected {what}, got {shown(value)}.")


def unlisted(value: object, words: Iterable[str]) -> ValueError:
    known = list(words)
    near = nearest(value, known) if isinstance(value, str) else None
    listed = ", ".join(f'"{word}"' for word in known)
    return ValueError(f"expected one of {listed}, got {shown(value)}." + (f' Did you mean "{near}"?' if near else ""))


# --- text, switches and choices --------------------------------------------------------------------------------------


def read_text(value: object, what: str = "text in quotes") -> str:
    if not isinstance(value, str):
        raise expected(what, value)
    if not value.strip():
        raise ValueError(f"expected {what}, got an empty text.")
    return value


def read_switch(value: object) -> bool:
    if not isinstance(value, bool):
        hint = " Write it without quotes." if str(value).casefold() in ("true", "false") else ""
        raise ValueError(f"expected true or false, got {shown(value)}.{hint}")
    return value


def read_rows(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 100_000:
        raise expected("a whole number from 1 to 100000", value)
    return value


def choice(*words: str) -> Form:
    """One of these words."""

    def read(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        near = nearest(value, words) if isinstance(value, str) else None
        listed = ", ".join(f'"{word}"' for word in words)
        raise ValueError(
            f"expected one of {listed}, got {shown(value)}." + (f' Did you mean "{near}"?' if near else "")
        )

    return Form(" or ".join(f'`"{word}"`' for word in words), {"enum": list(words)}, read)


def read_rate(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10_000_000:
        raise expected("a whole number from 1 to 10000000", value)
    return value


TEXT = Form("text", {"type": "string", "minLength": 1}, read_text)
COLUMN = Form("a column", {"type": "string", "minLength": 1}, lambda value: read_column(value))
SYSTEM = Form("a system", {"type": "string", "minLength": 1}, lambda value: read_text(value, "the name of a system"))
SWITCH = Form("`true` or `false`", {"type": "boolean"}, read_switch)
RATE = Form("a whole number", {"type": "integer", "minimum": 1, "maximum": 10_000_000}, read_rate)
ROWS = Form("a whole number", {"type": "integer", "minimum": 1, "maximum": 100_000}, read_rows)


class Place(NamedTuple):
    """Where a field stands in one system, and how its value is spelled there."""

    column: str
    map: Map = ()  # empty: values are the agreed words
    format: tuple[str, ...] | None = None  # None: as the field says


def read_place(value: object) -> Place:
    """A column's name, or, spelled out, `{ column = "…", map = { … }, format = … }`."""
    if not isinstance(value, dict):
        return Place(read_column(value))
    known = ("column", "map", "format")
    for key in value:
        if key not in known:
            raise Wrong(key, f"unknown key. {suggestion(key, known)}")
    if "column" not in value:
        raise ValueError('expected a column, got a table without one. Write { column = "…" }.')
    column = part(value, "column", read_column)
    map = part(value, "map", read_map) if "map" in value else ()
    return Place(column, map, part(value, "format", read_format) if "format" in value else None)


def part(value: Mapping[str, Any], key: str, read: Callable[[Any], T]) -> T:
    """What stands under a key of a table. `Wrong` says at which key."""
    try:
        return read(value[key])
    except ValueError as e:
        raise Wrong(key, e) from None


def read_map(value: object) -> Map:
    """What a system holds = the agreed word."""
    if not isinstance(value, dict) or not value:
        raise expected('a table like { "Not Invoiced" = "no", "Invoiced" = "yes" }', value)
    for held, word in value.items():
        if not isinstance(word, (str, int, bool)):
            raise Wrong(held, expected("the agreed word", word))
        if word == "*" and held != "*":
            raise Wrong(held, '"*" on the right means "as it is", which only "*" = "*" can say.')
    return tuple((held, word_of(word)) for held, word in value.items())


def word_of(word: str | int | bool) -> str:
    return str(word).lower() if isinstance(word, bool) else str(word)


def read_format(value: object) -> tuple[str, ...]:
    """The name of a format, or of several, in order."""
    written = value if isinstance(value, list) else [value]
    names = [name for name in written if isinstance(name, str)]
    if not names or len(names) < len(written):
        raise expected('a format like "phone:DE", or a list of formats', value)
    chain([parse(name) for name in names])
    return tuple(names)


def read_column(value: object) -> str:
    """A column's name."""
    if isinstance(value, str) and value.startswith(("sql:", "=")):
        raise ValueError(f"expected the name of a column, got {shown(value)}: an expression cannot be written back.")
    return read_text(value, "the name of a column")


FORMAT = Form(
    'a format like `"phone:DE"`, or a list of formats',
    {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]},
    read_format,
)
MAP = Form(
    "what the system holds = the agreed word",
    {"type": "object", "minProperties": 1, "additionalProperties": {"type": ["string", "integer", "boolean"]}},
    read_map,
)
PLACE = Form(
    'a column, or `{ column = "…", map = { … }, format = … }`',
    {
        "anyOf": [
            COLUMN.schema,
            {
                "type": "object",
                "properties": {"column": COLUMN.schema, "map": MAP.schema, "format": FORMAT.schema},
                "required": ["column"],
                "additionalProperties": False,
            },
        ]
    },
    read_place,
)

# --- durations -------------------------------------------------------------------------------------------------------

UNITS = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000}
DURATION_PATTERN = r"^[0-9]{1,9}(ms|s|m|h|d)$"


def read_duration(value: object, also: str = "") -> int:
    """Microseconds of "250ms", "30s", "15m", "2h" or "1d"; never zero."""
    found = re.fullmatch(DURATION_PATTERN, value) if isinstance(value, str) else None
    if not isinstance(value, str) or not found:
        forms = f'expected a duration like "250ms", "30s", "15m", "2h" or "1d"{also}'
        hint = f' Write "{value}s" for seconds.' if isinstance(value, int) and not isinstance(value, bool) else ""
        raise ValueError(f"{forms}, got {shown(value)}.{hint}")
    unit = found[1]
    length = int(value.removesuffix(unit)) * UNITS[unit]
    if not length:
        raise ValueError(f'expected a duration longer than zero{also}, got "{value}".')
    return length


def read_window(value: object) -> int:
    """A duration, or "off" = 0."""
    return 0 if value == "off" else read_duration(value, ', or "off"')


def write_duration(length: int) -> str:
    """The shortest way to write that many microseconds; "off" for none."""
    if not length:
        return "off"
    unit = next(unit for unit, size in UNITS.items() if length % size == 0)
    return f"{length // UNITS[unit]}{unit}"


DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SCHEDULE_PATTERN = rf"^(off|hourly|(daily|weekly ({'|'.join(DAYS)})) ([01][0-9]|2[0-3]):[0-5][0-9])$"


def read_schedule(value: object) -> str:
    """ "daily 03:00", "weekly sunday 03:00", "hourly" or "off"."""
    if not isinstance(value, str) or not re.fullmatch(SCHEDULE_PATTERN, value):
        raise expected('"daily 03:00", "weekly sunday 03:00", "hourly" or "off"', value)
    return value


SCHEDULE = Form(
    '`"daily 03:00"`, `"weekly sunday 03:00"`, `"hourly"` or `"off"`',
    {"type": "string", "pattern": SCHEDULE_PATTERN},
    read_schedule,
)
DURATION = Form("a duration", {"type": "string", "pattern": DURATION_PATTERN}, read_duration)
WINDOW = Form(
    'a duration, or `"off"`',
    {"anyOf": [{"type": "string", "pattern": DURATION_PATTERN}, {"enum": ["off"]}]},
    read_window,
)

# --- sizes -----------------------------------------------------------------------------------------------------------

SIZES = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
SIZE_PATTERN = r"^[1-9][0-9]{0,6}(MB|GB|TB)$"


def read_size(value: object) -> int:
    """Bytes of "500MB", "2GB" or "1TB"."""
    found = re.fullmatch(SIZE_PATTERN, value) if isinstance(value, str) else None
    if not isinstance(value, str) or not found:
        hint = f' Write "{value}MB" for megabytes.' if isinstance(value, int) and not isinstance(value, bool) else ""
        raise ValueError(f'expected a size like "500MB" or "2GB", got {shown(value)}.{hint}')
    return int(value.removesuffix(found[1])) * SIZES[found[1]]


def write_size(size: int) -> str:
    """The shortest way to write that many bytes."""
    unit = next(unit for unit in ("TB", "GB", "MB") if size % SIZES[unit] == 0)
    return f"{size // SIZES[unit]}{unit}"


SIZE = Form("a size", {"type": "string", "pattern": SIZE_PATTERN}, read_size)

# --- lists -----------------------------------------------------------------------------------------------------------

NAMES_SCHEMA = {
    "type": "array",
    "items": {"type": "string", "minLength": 1},
    "minItems": 1,
    "uniqueItems": True,
}
NAME_OR_LIST = {"anyOf": [{"type": "string", "minLength": 1}, NAMES_SCHEMA]}


def read_names(value: object, what: str) -> tuple[str, ...]:
    """One name, or a list of different names."""
    if isinstance(value, str):
        return (read_text(value, what),)
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and item.strip() for item in value):
        raise expected(what, value)
    twice = next((item for n, item in enumerate(value) if item in value[:n]), None)
    if twice is not None:
        raise ValueError(f'"{twice}" is listed twice.')
    return tuple(value)


def read_rules(value: object) -> tuple[tuple[str, ...], ...]:
    """A list of rules, each a list of names of fields that must all be equal."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        apart = ", ".join(f'["{item}"]' for item in value)
        together = ", ".join(f'"{item}"' for item in value)
        also = f" (any of them) or [[{together}]] (all of them at once)" if len(value) > 1 else ""
        raise ValueError(f"expected a list of rules, each a list of fields. Write [{apart}]{also}.")
    if not isinstance(value, list) or not all(isinstance(rule, list) for rule in value):
        raise ValueError(
            f'expected a list of rules, each a list of fields, like [["vat_id"], ["email"]], got {shown(value)}.'
        )
    if [] in value:
        raise ValueError("a rule without a field would match everything; remove the empty list.")
    return tuple(read_names(rule, 'a list of fields like ["vat_id"]') for rule in value)


KEY = Form("a column or a list of columns", NAME_OR_LIST, lambda v: read_names(v, "a column or a list of columns"))
SYSTEMS = Form(
    "a system or a list of systems", NAME_OR_LIST, lambda v: frozenset(read_names(v, "a system or a list of systems"))
)
RULES = Form("a list of lists of fields", {"type": "array", "items": NAMES_SCHEMA}, read_rules)

# --- constants -------------------------------------------------------------------------------------------------------


def read_constant(value: object) -> Value:
    """A scalar, or text "sql:…"; a time of day becomes text, as it is canonically."""
    if isinstance(value, str) and value.startswith("sql:"):
        return read_sql(value)
    if isinstance(value, Decimal) and not value.is_finite():
        raise expected("a number that a database can hold", value)
    if isinstance(value, time):
        return value.isoformat()
    if isinstance(value, str | bool | int | Decimal | datetime | date):
        return value
    raise expected('text, a number, true, false, a date or "sql:…"', value)


def read_constants(value: object) -> dict[str, Value]:
    """Column = constant."""
    if not isinstance(value, dict) or not value:
        raise ValueError(f"expected columns and their values like {{ active = true }}, got {shown(value)}.")
    read: dict[str, Value] = {}
    for column, constant in value.items():
        try:
            read[column] = read_constant(constant)
        except ValueError as e:
            raise Wrong(column, e) from None
    return read


def read_sql(value: str) -> str:
    if not value.removeprefix("sql:").strip():
        raise ValueError('expected SQL after "sql:", got nothing.')
    return value


def read_column_or_sql(value: object) -> str:
    if isinstance(value, str) and value.startswith("sql:"):
        return read_sql(value)
    return read_text(value, 'a column or "sql:…"')


def read_new_key(value: object) -> str:
    if isinstance(value, str) and (value in ("uuid", "copy") or value.startswith("sql:")):
        return read_sql(value) if value.startswith("sql:") else value
    raise expected('"uuid", "copy" or "sql:…"', value)


CONSTANTS = Form(
    "columns and their values",
    {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    },
    read_constants,
)
COLUMN_OR_SQL = Form('a column, or `"sql:…"`', {"type": "string", "minLength": 1}, read_column_or_sql)
NEW_KEY = Form(
    '`"uuid"`, `"copy"` or `"sql:…"`',
    {"type": "string", "pattern": r"^(uuid|copy|sql:[\s\S]*\S[\s\S]*)$"},
    read_new_key,
)

# --- rules of the merge ----------------------------------------------------------------------------------------------

DELETE_POLICIES = ("propagate", "archive", "ignore", "review")
CONFLICT_RULES = ("latest", "sum", "review")
TYPES = ("text", "int", "decimal", "bool", "date", "datetime", "bytes")


def read_conflict(value: object) -> str:
    if isinstance(value, str) and (value in CONFLICT_RULES or re.fullmatch(r"prefer:\s*\S.*", value)):
        return value if value in CONFLICT_RULES else f"prefer:{value.removeprefix('prefer:').strip()}"
    raise unlisted(value, ("latest", "prefer:SYSTEM", "sum", "review"))


def read_type(value: object) -> str:
    if isinstance(value, str) and (value in TYPES or re.fullmatch(r"decimal\([0-9]{1,2}\)", value)):
        return value
    raise unlisted(value, (*TYPES, "decimal(2)"))


def read_switch_or_condition(value: object) -> bool | str:
    """`true`, `false`, or the text of a condition, which is judged when the fields are known."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or not value.strip():
        raise expected('true, false or a condition like "filled(vat_id)"', value)
    if value.strip().casefold() in ("true", "false"):
        raise ValueError(f"expected true or false, got {shown(value)}. Write it without quotes.")
    return value


SWITCH_OR_CONDITION = Form(
    "`true`, `false` or a condition",
    {"anyOf": [SWITCH.schema, {"type": "string", "minLength": 1}]},
    read_switch_or_condition,
)


def each(form: Form, what: str) -> Form:
    """One value for all systems, or a table with a value per system."""

    def read(value: object) -> Any:
        if not isinstance(value, dict):
            return form.read(value)
        read: dict[str, Any] = {}
        for system, item in value.items():
            try:
                read[system] = form.read(item)
            except ValueError as e:
                raise Wrong(system, e) from None
        return read

    schema = {"anyOf": [form.schema, {"type": "object", "additionalProperties": form.schema}]}
    return Form(f"{form.text}; or {what} per system", schema, read)


CONFLICT = Form(
    '`"latest"`, `"prefer:SYSTEM"`, `"sum"` or `"review"`',
    {"anyOf": [{"enum": list(CONFLICT_RULES)}, {"type": "string", "pattern": r"^prefer:\s*\S.*$"}]},
    read_conflict,
)
TYPE = Form(
    " ".join(f'`"{word}"`' for word in (*TYPES[:3], "decimal(2)", *TYPES[3:])),
    {"anyOf": [{"enum": list(TYPES)}, {"type": "string", "pattern": r"^decimal\([0-9]{1,2}\)$"}]},
    read_type,
)
DELETE = each(choice(*DELETE_POLICIES), "one")
CREATE = each(SWITCH_OR_CONDITION, "one")

# --- of accord.toml --------------------------------------------------------------------------------------------------


def read_agent_name(value: object) -> str:
    name = read_text(value, "a name")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        raise expected("a name of at most 63 letters, digits, '.', '_' or '-'", name)
    return name


def read_prefix(value: object) -> str:
    # It starts the names of triggers and tables, which databases cut or refuse when they grow long.
    if not isinstance(value, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,15}", value):
        raise expected("at most 16 small letters, digits or '_', beginning with a letter", value)
    return value


def read_state(value: object) -> Path:
    text = read_text(value, "the path of a file")
    if "://" in text:
        raise expected("the path of a file", text)
    return Path(text)


def known_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not found; not a relative path; a folder of zones
        return False
    return True


def read_timezone(value: object) -> str:
    name = read_text(value, 'a time zone like "Europe/Berlin"')
    if name == "UTC" or known_zone(name):
        return name
    near = nearest(name, available_timezones())
    known = f' Did you mean "{near}"?' if near else ' Names look like "UTC" or "Europe/Berlin".'
    raise ValueError(f'there is no time zone called "{name}".{known}')


def read_url(value: object) -> str:
    text = read_text(value, "a url like postgresql://user@host/database")
    parse_url(text, Path())
    return text


def read_reference(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError('expected "file:…", "env:NAME" or "credential:NAME"; a password itself is not written here.')
    check_reference(value)
    return value


AGENT_NAME = Form("a name", {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"}, read_agent_name)
PREFIX = Form("a name", {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,15}$"}, read_prefix)
STATE = Form("a path", {"type": "string", "minLength": 1}, read_state)
TIMEZONE = Form('a time zone like `"Europe/Berlin"`', {"type": "string", "minLength": 1}, read_timezone)
URL = Form("a url", {"type": "string", "pattern": "^(postgresql://|mysql://|mariadb://|sqlite:)"}, read_url)
REFERENCE_FORM = Form("a secret's place", {"type": "string", "pattern": REFERENCE}, read_reference)

Text = Annotated[str, TEXT]
Switch = Annotated[bool, SWITCH]
Duration = Annotated[int, DURATION]
