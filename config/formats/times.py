"""Formats of dates and times that are kept as text, by an explicit pattern."""

from __future__ import annotations

import re
from datetime import date, datetime

from config.formats.form import Format, brief
from config.records import Value

DATE_PARTS = "dmYyj"
SAMPLES = (date(1987, 6, 5), date(2024, 12, 31), date(2001, 2, 3))


def day(name: str, pattern: str) -> Format:
    """A date by a pattern of `strptime` whose letters mean the same in every language."""
    _check(name, pattern)

    def read(text: str) -> date:
        try:
            return datetime.strptime(text.strip(), pattern).date()
        except (ValueError, OverflowError):
            raise ValueError(f"{brief(text)} is no date like {_write(date(2024, 12, 31), pattern)}") from None

    def write(value: Value, standing: str | None) -> str | None:
        if value is None:
            return None
        if not isinstance(value, date) or isinstance(value, datetime):
            raise ValueError(f'the format "{name}" writes dates, and this is {brief(value)}')
        text = _write(value, pattern)
        if read(text) != value:
            raise ValueError(f'{value} cannot be written in the format "{name}": it would be read as {read(text)}')
        return text

    return Format(name, "date", read, write)


def _check(name: str, pattern: str) -> None:
    strange = [letter for letter in re.findall(r"%(.?)", pattern, re.DOTALL) if letter not in (*DATE_PARTS, "%")]
    if strange:
        known = ", ".join(f"%{letter}" for letter in DATE_PARTS)
        raise ValueError(f'%{strange[0]} in "{name}" is no part of a date. Known here: {known}.')
    for sample in SAMPLES:
        try:
            found = datetime.strptime(_write(sample, pattern), pattern).date()
        except (ValueError, re.error):
            found = None
        if found != sample:
            raise ValueError(f'"{name}" does not say day, month and year. Write, for instance, date:%d.%m.%Y.')


def _write(value: date, pattern: str) -> str:
    """As `strftime`, with four digits for every year."""
    return value.strftime(re.sub(r"%(.)", lambda m: f"{value.year:04}" if m[1] == "Y" else m[0], pattern))
