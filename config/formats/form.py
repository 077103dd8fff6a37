"""What a format is: how the text of a column is read so that spellings compare, and how it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from config.records import Value


class Format(NamedTuple):
    """One way of spelling values as text in a column.

    `read` never sees None or blanks; it gives the comparable value, None = empty. `write` takes a comparable value
    (None = empty) and the column's text as it stands (None = empty, or a new row), and gives the text to be stored in
    the tidy form, None = empty. Both raise `ValueError` with a sentence, its point left out, for what is no such
    value. A number that is finer than the format is written rounded: reading it back shows what was lost.
    """

    name: str  # as a person wrote it: "phone:DE"
    kind: str  # canonical type of what is read: text, int, decimal, date, datetime
    read: Callable[[str], Value]
    write: Callable[[Value, str | None], str | None]
    partial: bool = False  # only a part of the column is the value: writing leaves the rest as it is


class Spelled(str):
    """A comparable text that remembers how a person typed it.

    Equal to, and hashed as, its comparable form. Where the spelling is lost on the way (in the state, say), what is
    left is the comparable form, which reads as the same value.
    """

    typed: str

    def __new__(cls, comparable: str, typed: str) -> Spelled:
        spelled = super().__new__(cls, comparable)
        spelled.typed = str(typed)
        return spelled


def typed(value: str) -> str:
    """The spelling of a person where there is one, as plain text."""
    return value.typed if isinstance(value, Spelled) else str(value)


def same(text: str) -> str:
    return text


def of_text(name: str, read: Callable[[str], str], tidy: Callable[[str], str] = same) -> Format:
    """A format of whole columns of text: what is written is the tidy form of the comparable text."""

    def write(value: Value, standing: str | None) -> str | None:
        return None if value is None else tidy(read(typed(as_text(value, name))))

    return Format(name, "text", read, write)


def as_typed(name: str, read: Callable[[str], str]) -> Format:
    """A format whose values are written as they were typed: `read` gives what compares."""

    def write(value: Value, standing: str | None) -> str | None:
        if value is None:
            return None
        text = typed(as_text(value, name)).strip()
        read(text)  # it may come from a place with another format
        return text

    return Format(name, "text", lambda text: Spelled(read(text), text.strip()), write)


def as_text(value: Value, name: str) -> str:
    """The text that is to be written in a format. Raises `ValueError` for other kinds of values, and for blanks."""
    if not isinstance(value, str):
        raise ValueError(f'the format "{name}" writes text, and this is {brief(value)}')
    if not value.strip():
        raise ValueError(f'the format "{name}" cannot write blanks')
    return value


def brief(value: object) -> str:
    """A value as messages show it: in quotes, on one line, cut where it is long."""
    text = " ".join(str(value).split())
    return f"'{text[:60]}…'" if len(text) > 60 else f"'{text}'"
