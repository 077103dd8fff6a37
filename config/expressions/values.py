"""What is done with values while an expression is worked out. Empty is None; a blank text is empty, too.

Numbers are exact: a result that would have to be rounded is an error, but for a quotient, which has 50 digits. Every
value that is made here is bounded in size.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import date, datetime
from decimal import (
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    FloatOperation,
    Inexact,
    InvalidOperation,
    Overflow,
    Underflow,
)
from typing import Any

from config.expressions.errors import ExpressionError
from config.records import Value

WIDEST = 200  # digits of a number
LONGEST = 1_000_000  # characters of a text that is made
_TRAPS = [Overflow, Underflow, InvalidOperation, DivisionByZero, FloatOperation]
EXACT = Context(prec=WIDEST, rounding=ROUND_HALF_UP, Emin=-999, Emax=999, traps=[*_TRAPS, Inexact])
QUOTIENT = Context(prec=50, rounding=ROUND_HALF_UP, Emin=-999, Emax=999, traps=_TRAPS)
ROUNDING = Context(prec=2 * WIDEST, rounding=ROUND_HALF_UP, Emin=-999, Emax=999, traps=_TRAPS)

Number = int | Decimal


def is_empty(value: Value) -> bool:
    """None, or a text of blanks."""
    return value is None or (isinstance(value, str) and not value.strip())


def plain(value: Value) -> Value:
    """A blank text becomes None."""
    return None if isinstance(value, str) and not value.strip() else value


def kind(value: Value) -> str:
    """What may be compared with each other."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | Decimal):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, datetime):
        return "a date with time"
    return "a date" if isinstance(value, date) else "bytes"


def number(value: Value) -> Number:
    """A number of reasonable size."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ExpressionError(f"{kind(value)} is no number")
    if isinstance(value, int):
        fits = value.bit_length() < 3 * WIDEST
    else:
        fits = value.is_finite() and -WIDEST < value.adjusted() < WIDEST
    if not fits:
        raise ExpressionError("a number is too large, too long, or none at all")
    return value


def text(value: Value) -> str:
    if not isinstance(value, str):
        raise ExpressionError(f"{kind(value)} is no text")
    return value


def sized(value: str) -> str:
    if len(value) > LONGEST:
        raise ExpressionError("a text becomes too long")
    return value


def add(a: Value, b: Value) -> Value:
    """Numbers are added, texts put together."""
    if a is None or b is None:
        return None
    if isinstance(a, str) and isinstance(b, str):
        return plain(sized(a + b))
    x, y = number(a), number(b)
    return number(x + y) if isinstance(x, int) and isinstance(y, int) else EXACT.add(x, y)


def subtract(a: Value, b: Value) -> Value:
    if a is None or b is None:
        return None
    x, y = number(a), number(b)
    return number(x - y) if isinstance(x, int) and isinstance(y, int) else EXACT.subtract(x, y)


def multiply(a: Value, b: Value) -> Value:
    if a is None or b is None:
        return None
    x, y = number(a), number(b)
    return number(x * y) if isinstance(x, int) and isinstance(y, int) else EXACT.multiply(x, y)


def divide(a: Value, b: Value) -> Value:
    """Always a decimal number, of 50 digits at most."""
    if a is None or b is None:
        return None
    x, y = number(a), number(b)
    if not y:
        raise ExpressionError("a number is divided by zero")
    return QUOTIENT.divide(EXACT.create_decimal(x), EXACT.create_decimal(y))


def negative(value: Value) -> Value:
    if value is None:
        return None
    x = number(value)
    return -x if isinstance(x, int) else EXACT.minus(x)


def positive(value: Value) -> Value:
    return None if value is None else number(value)


def equal(a: Value, b: Value) -> bool:
    """Empty equals empty only."""
    a, b = plain(a), plain(b)
    if a is None or b is None:
        return a is b
    return kind(a) == kind(b) and bool(a == b)


def unequal(a: Value, b: Value) -> bool:
    return not equal(a, b)


def ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Value, Value], bool]:
    """A comparison by size; with empty it is false."""

    def compared(a: Value, b: Value) -> bool:
        a, b = plain(a), plain(b)
        if a is None or b is None:
            return False
        if kind(a) != kind(b):
            raise ExpressionError(f"{kind(a)} cannot be compared with {kind(b)}")
        if isinstance(a, int | Decimal):
            number(a)
            number(b)
        return compare(a, b)

    return compared


below = ordered(operator.lt)
at_most = ordered(operator.le)
above = ordered(operator.gt)
at_least = ordered(operator.ge)
