"""The functions of the language, by name: what they take, what they give, and how.

A signature reads `text, int -> text`. `any`: whatever there is, `number`: int or decimal, `moment`: date or datetime,
`plain`: what can be written as a text, `same`: all of one type, which is also the result, `size`: the same, of what has
an order. `…` behind the last: more of it. An argument that is empty makes the result empty, unless the function is one
of those that see empty values (`sees`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TypeVar

from config.expressions import values as v
from config.expressions.errors import ExpressionError
from config.records import Value

Run = TypeVar("Run", bound=Callable[..., Value])
WHOLE = re.compile(r"[+-]?[0-9]{1,50}")
POINT = re.compile(r"[+-]?[0-9]{1,50}(\.[0-9]{1,50})?")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
MOST_PLACES = 30


@dataclass(frozen=True, slots=True)
class Function:
    """One function. `run` gets its arguments in order."""

    takes: tuple[str, ...]
    gives: str
    least: int  # arguments
    more: bool  # further ones, as the last
    sees: bool  # empty values, too
    run: Callable[..., Value]
    says: str  # for the reference

    def expected(self) -> str:
        """`2 values`, in words."""
        most = len(self.takes)
        count = f"{self.least} or more" if self.more else str(most) if most == self.least else f"{self.least} to {most}"
        return f"{count} value{'' if count == '1' else 's'}"

    def accepts(self, count: int) -> bool:
        return count >= self.least and (self.more or count <= len(self.takes))

    def taken(self, index: int) -> str:
        return self.takes[min(index, len(self.takes) - 1)]


FUNCTIONS: dict[str, Function] = {}


def _function(name: str, signature: str, says: str, sees: bool = False, optional: int = 0) -> Callable[[Run], Run]:
    takes, gives = signature.split(" -> ")
    words = [word.strip() for word in takes.split(",")]
    more = words[-1] == "…"
    kinds = tuple(words[:-1] if more else words)

    def known(run: Run) -> Run:
        FUNCTIONS[name] = Function(kinds, gives, len(kinds) - optional, more, sees, run, says)
        return run

    return known


# --- of any value ----------------------------------------------------------------------------------------------------


@_function("filled", "any -> bool", "it is not empty", sees=True)
def _filled(value: Value) -> Value:
    return not v.is_empty(value)


@_function("empty", "any -> bool", "it is empty", sees=True)
def _empty(value: Value) -> Value:
    return v.is_empty(value)


@_function("coalesce", "same, … -> same", "the same as `first`", sees=True)
@_function("first", "same, … -> same", "the first that is not empty", sees=True)
def _first(*found: Value) -> Value:
    return next((value for value in found if not v.is_empty(value)), None)


@_function("min", "size, size, … -> same", "the smallest; empty ones are left out", sees=True)
def _min(*found: Value) -> Value:
    return _extreme(found, v.below)


@_function("max", "size, size, … -> same", "the greatest; empty ones are left out", sees=True)
def _max(*found: Value) -> Value:
    return _extreme(found, v.above)


def _extreme(found: Sequence[Value], better: Callable[[Value, Value], bool]) -> Value:
    best: Value = None
    for value in found:
        if not v.is_empty(value) and (best is None or better(value, best)):
            best = value
    return best


# --- of texts --------------------------------------------------------------------------------------------------------


@_function("upper", "text -> text", "in capital letters")
def _upper(value: Value) -> Value:
    return v.text(value).upper()


@_function("lower", "text -> text", "in small letters")
def _lower(value: Value) -> Value:
    return v.text(value).lower()


@_function("trim", "text -> text", "without blanks at both ends, and with single ones within")
def _trim(value: Value) -> Value:
    return " ".join(v.text(value).split())


@_function("compact", "text -> text", "its letters and digits only: `compact('DE 123-4')` is `'DE1234'`")
def _compact(value: Value) -> Value:
    return "".join(c for c in v.text(value) if c.isalnum())


@_function("left", "text, int -> text", "its first characters, so many")
def _left(value: Value, count: Value) -> Value:
    return v.text(value)[: _count(count)]


@_function("right", "text, int -> text", "its last characters, so many")
def _right(value: Value, count: Value) -> Value:
    whole, n = v.text(value), _count(count)
    return whole[max(0, len(whole) - n) :]


def _count(value: Value) -> int:
    n = v.number(value)
    if n != int(n) or n < 0:
        raise ExpressionError(f"{n} is no number of characters")
    return int(n)


@_function("replace", "text, text, text -> text", "the second, wherever it stands in the first, becomes the third")
def _replace(value: Value, old: Value, new: Value) -> Value:
    whole, a, b = v.text(value), v.text(old), v.text(new)
    if not a:
        return whole
    if len(whole) + whole.count(a) * (len(b) - len(a)) > v.LONGEST:
        raise ExpressionError("a text becomes too long")
    return whole.replace(a, b)


@_function("join", "text, plain, … -> text", "the others, with the first between them; empty ones are left out", True)
def _join(between: Value, *found: Value) -> Value:
    parts = [str(_text(value)) for value in found if not v.is_empty(value)]
    glue = "" if between is None else v.text(between)
    if sum(map(len, parts)) + len(glue) * len(parts) > v.LONGEST:
        raise ExpressionError("a text becomes too long")
    return glue.join(parts)


@_function("len", "text -> int", "how many characters; of an empty text 0", sees=True)
def _len(value: Value) -> Value:
    return 0 if value is None else len(v.text(value))


@_function("contains", "text, text -> bool", "does the second stand in the first? With an empty one: no", sees=True)
def _contains(value: Value, part: Value) -> Value:
    return bool(value and part) and v.text(part) in v.text(value)


@_function("startswith", "text, text -> bool", "does the first begin with the second? With an empty one: no", sees=True)
def _startswith(value: Value, part: Value) -> Value:
    return bool(value and part) and v.text(value).startswith(v.text(part))


@_function("endswith", "text, text -> bool", "does the first end with the second? With an empty one: no", sees=True)
def _endswith(value: Value, part: Value) -> Value:
    return bool(value and part) and v.text(value).endswith(v.text(part))


# --- of numbers ------------------------------------------------------------------------------------------------------


@_function("round", "number, int -> number", "to so many digits after the point (0), halves away from zero", optional=1)
def _round(value: Value, places: Value = 0) -> Value:
    n, x = v.number(places), v.number(value)
    if n != int(n) or not -MOST_PLACES <= n <= MOST_PLACES:
        raise ExpressionError(f"{n} is no number of digits to round to")
    if isinstance(x, int) and n >= 0:
        return x
    rounded = v.ROUNDING.create_decimal(x).quantize(Decimal(1).scaleb(-int(n)), context=v.ROUNDING)
    return int(rounded) if isinstance(x, int) else rounded


@_function("abs", "number -> number", "without its sign")
def _abs(value: Value) -> Value:
    x = v.number(value)
    return abs(x) if isinstance(x, int) else v.EXACT.abs(x)


# --- from one type to another ----------------------------------------------------------------------------------------


@_function("text", "plain -> text", "as a text: `12.5`, `2026-01-31`, `true`; a number without zeros at its end")
def _text(value: Value) -> Value:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        x = v.number(value)
        if not isinstance(x, int):
            x = v.EXACT.normalize(x)
        return f"{x:f}" if isinstance(x, Decimal) and x else str(int(x))
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    if isinstance(value, date):
        return value.isoformat()
    raise ExpressionError(f"{v.kind(value)} is no text")


@_function("int", "plain -> int", "a whole number; a fraction is an error (`round` it first)")
def _int(value: Value) -> Value:
    if isinstance(value, str):
        if not WHOLE.fullmatch(value.strip()):
            raise ExpressionError(f"{value[:40]!r} is no whole number")
        return int(value)
    if isinstance(value, bool):
        return int(value)
    x = v.number(value)
    if x != int(x):
        raise ExpressionError(f"{x} is no whole number")
    return int(x)


@_function("decimal", "plain -> decimal", "a number from a text like `-12.50`")
def _decimal(value: Value) -> Value:
    if isinstance(value, str):
        if not POINT.fullmatch(value.strip()):
            raise ExpressionError(f"{value[:40]!r} is no number")
        return Decimal(value.strip())
    return v.EXACT.create_decimal(v.number(value))


@_function("date", "plain -> date", "the day of a time (UTC), or of a text like `2026-01-31`")
def _date(value: Value) -> Value:
    if isinstance(value, datetime):
        return value.astimezone(UTC).date()
    if isinstance(value, date):
        return value
    if not DAY.fullmatch(v.text(value).strip()):
        raise ExpressionError(f"{v.text(value)[:40]!r} is no date")
    return date.fromisoformat(v.text(value).strip())


@_function("year", "moment -> int", "of a date")
def _year(value: Value) -> Value:
    return _day(value).year


@_function("month", "moment -> int", "of a date, 1 to 12")
def _month(value: Value) -> Value:
    return _day(value).month


@_function("day", "moment -> int", "of a date, 1 to 31")
def _day_of(value: Value) -> Value:
    return _day(value).day


def _day(value: Value) -> date:
    if not isinstance(value, date):
        raise ExpressionError(f"{v.kind(value)} is no date")
    return value.astimezone(UTC).date() if isinstance(value, datetime) else value
