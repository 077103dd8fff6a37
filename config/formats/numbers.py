"""Formats of numbers that are kept as text."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation

from config.formats.form import Format, brief
from config.records import Value

WIDTH = 200  # digits; longer than any number that a database holds
EXACT = Context(prec=2 * WIDTH)
MINUS = str.maketrans({"\u2212": "-", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2019": "'"})
BETWEEN = {".": " ',", ",": " '."}  # by decimal point: what may stand between thousands


def decimal(name: str, scale: int, point: str) -> Format:
    """A number with at most so many digits after the point; the sign stands in front."""
    read = _reader(scale, point)
    return Format(name, "decimal", read, _writer(name, scale, point))


def integer(name: str) -> Format:
    """A whole number; zeros in front mean nothing."""
    read = _reader(0, ".")
    return Format(name, "int", lambda text: int(read(text)), _writer(name, 0, "."))


def _reader(scale: int, point: str) -> Callable[[str], Decimal]:
    between = re.escape(BETWEEN[point])
    pattern = re.compile(
        rf"([-+]?) ?([0-9]+|[0-9]{{1,3}}(?:([{between}])[0-9]{{3}}(?:\3[0-9]{{3}})*)?)?(?:{re.escape(point)}([0-9]+))?"
    )

    def read(text: str) -> Decimal:
        found = pattern.fullmatch(text.translate(MINUS).strip())
        if not found or not (found[2] or found[4]) or len(text) > WIDTH:
            raise ValueError(f"{brief(text)} is no number{_like(scale, point)}")
        digits = (found[4] or "").rstrip("0")
        if len(digits) > scale:
            raise ValueError(f"{brief(text)} has more than {scale} digits after the point")
        whole = re.sub(r"[^0-9]", "", found[2] or "0")
        number = Decimal(f"{found[1]}{whole}.{digits.ljust(scale, '0')}")
        return number if number else abs(number)  # there is no zero with a sign

    return read


def _like(scale: int, point: str) -> str:
    return f" like 1234{point}{'5' * scale}" if scale else " like 1234"


def _writer(name: str, scale: int, point: str) -> Callable[[Value, str | None], str | None]:
    step = Decimal(1).scaleb(-scale)

    def write(value: Value, standing: str | None) -> str | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise ValueError(f'the format "{name}" writes numbers, and this is {brief(value)}')
        try:
            number = Decimal(value).quantize(step, ROUND_HALF_UP, EXACT)
        except InvalidOperation:
            number = Decimal("nan")
        text = format(number if number else abs(number), "f")
        if not number.is_finite() or len(text) > WIDTH:
            raise ValueError(f'{brief(value)} cannot be written in the format "{name}"')
        return text.replace(".", point)

    return write
