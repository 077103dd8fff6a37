"""From what a person wrote to the format; and several formats as one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from config.formats import numbers, parts, phones, places, taxes, text, times
from config.formats.form import Format
from config.records import Value
from config.words import shown, suggestion


class _Kind(NamedTuple):
    """One format as it is offered: how it is written, what it does, what may stand after the colon."""

    form: str
    says: str
    make: Callable[[str, str], Format]  # the whole text, and what stands after the colon
    takes: str = ""  # "" = nothing may stand there


def _decimal(name: str, given: str) -> Format:
    found = re.fullmatch(r"([0-9]{1,2})([.,]?)", given)
    if not found or int(found[1]) > 18:
        raise _takes("decimal", given)
    return numbers.decimal(name, int(found[1]), found[2] or ".")


def _country(name: str, given: str) -> Format:
    if given not in ("", "name") or name.endswith(":"):
        raise _takes("country", given)
    return places.country_name(name) if given else places.country(name)


def _plain(make: Callable[[str], Format]) -> Callable[[str, str], Format]:
    return lambda name, given: make(name)


def _filled(kind: str, make: Callable[[str, str], Format]) -> Callable[[str, str], Format]:
    def checked(name: str, given: str) -> Format:
        if not given.strip() and "\n" not in given:
            raise _takes(kind, given)
        return make(name, given)

    return checked


def _label(name: str, given: str) -> Format:
    if not given.strip(" :") or re.search(r"[\r\n]", given):
        raise _takes("line", given)
    return parts.line(name, given)


KINDS = {
    "phone": _Kind(
        "phone:COUNTRY",
        "A phone number, with or without an extension; numbers without a country code are that country's.",
        _filled("phone", phones.phone),
        "the ISO code of the country that numbers without a country code belong to, like phone:DE",
    ),
    "email": _Kind("email", "One e-mail address: case does not matter, written as typed.", _plain(text.email)),
    "vat": _Kind("vat", "A VAT number or another tax id: blanks, points and dashes do not matter.", _plain(taxes.vat)),
    "country": _Kind(
        "country",
        "A country by code or name; written as its two-letter code, as `country:name` as its English name.",
        _country,
        "nothing, or name: country:name",
    ),
    "currency": _Kind("currency", "A currency by code, name or sign; written as its code.", _plain(places.currency)),
    "url": _Kind(
        "url",
        "A web address: http or https, the case of the host and a slash at the end do not matter, written as typed.",
        _plain(text.url),
    ),
    "lines": _Kind(
        "lines", "Several lines: line ends, and blanks at the end of a line, do not matter.", _plain(text.lines)
    ),
    "trim": _Kind("trim", "Blanks before and after the text do not matter.", _plain(text.trim)),
    "upper": _Kind("upper", "Case does not matter; written in capitals.", _plain(text.upper)),
    "lower": _Kind("lower", "Case does not matter; written in small letters.", _plain(text.lower)),
    "date": _Kind(
        "date:PATTERN",
        "A date kept as text: %d day, %m month, %Y year (%y two digits of it, %j day of the year).",
        _filled("date", times.day),
        "a pattern, like date:%d.%m.%Y",
    ),
    "decimal": _Kind(
        "decimal:N",
        "A number kept as text with N digits after the point; `decimal:2,` has a comma for the point.",
        _decimal,
        "the digits after the point, from 0 to 18, like decimal:2, and a comma if that is the point, like decimal:2,",
    ),
    "int": _Kind("int", "A whole number kept as text.", _plain(numbers.integer)),
    "first": _Kind(
        "first:SEPARATOR",
        "The first item of a list in the column; the other items stay as they are.",
        _filled("first", parts.first),
        "what separates the items, like first:,",
    ),
    "line": _Kind(
        "line:LABEL",
        "The text after `LABEL: ` in the line that begins so; the other lines stay as they are.",
        _label,
        "how the line begins, like line:ERP",
    ),
}

FORMS: dict[str, str] = {kind.form: kind.says for kind in KINDS.values()}
"""How each format is written, and what it does in one sentence: for the reference."""


def parse(spec: str) -> Format:
    """The format that is written so. Raises `ValueError` with the nearest one, and what it takes after the colon."""
    name, colon, given = spec.partition(":")
    kind = KINDS.get(name)
    if kind is None:
        raise ValueError(f"{shown(spec)} is no format. {suggestion(name, KINDS)}")
    if not kind.takes and colon:
        raise ValueError(f'the format "{name}" takes nothing after it, got {shown(spec)}.')
    return kind.make(spec, given)


def _takes(name: str, given: str) -> ValueError:
    return ValueError(f'the format "{name}:" takes {KINDS[name].takes}; got {shown(given)}.')


def chain(formats: Sequence[Format]) -> Format:
    """These formats in order: each reads what the one before it gave, and writing goes back.

    Raises `ValueError` when they do not fit together: parts of a column come first, and only text is read again.
    """
    if len(formats) == 1:
        return formats[0]
    _check(formats)

    def read(text: str) -> Value:
        value: Value = text
        for form in formats:
            if not isinstance(value, str) or not value.strip():
                return None
            value = form.read(value)
        return value

    def write(value: Value, standing: str | None) -> str | None:
        for form, part in zip(reversed(formats), reversed(_standing(formats, standing)), strict=True):
            value = form.write(value, part)
        return value if isinstance(value, str) else None

    name = " then ".join(form.name for form in formats)
    return Format(name, formats[-1].kind, read, write, any(form.partial for form in formats))


def _check(formats: Sequence[Format]) -> None:
    if not formats:
        raise ValueError("there is no format in the list.")
    for before, after in pairwise(formats):
        if after.partial and not before.partial:
            raise ValueError(f'"{after.name}" takes a part of the column and must come before "{before.name}".')
        if before.kind != "text":
            raise ValueError(f'nothing can follow "{before.name}": what it reads is no text.')


def _standing(formats: Sequence[Format], text: str | None) -> list[str | None]:
    """The text as it stands for each of the formats; None from one that cannot be read."""
    texts = [text]
    for form in formats[:-1]:
        try:
            value = form.read(text) if text and text.strip() else None
        except ValueError:
            value = None
        text = value if isinstance(value, str) else None
        texts.append(text)
    return texts
