"""Formats of which only a part of the column is the value: the rest of the column stays as it is."""

from __future__ import annotations

import re

from config.formats.form import Format, as_text, brief, typed
from config.formats.text import LINE_END
from config.records import Value


def first(name: str, separator: str) -> Format:
    """The first item of a list that is not blank. Emptied, the item goes and the next one stands first."""
    mark = separator.strip() or separator

    def at(items: list[str]) -> int | None:
        return next((n for n, item in enumerate(items) if item.strip()), None)

    def read(text: str) -> str | None:
        items = text.split(mark)
        n = at(items)
        return None if n is None else items[n].strip()

    def write(value: Value, standing: str | None) -> str | None:
        text = None if value is None else typed(as_text(value, name)).strip()
        if text and mark in text:
            raise ValueError(f"{brief(text)} would be more than one item of a list separated by {brief(mark)}")
        items = standing.split(mark) if standing else [""]
        n = at(items)
        if n is None:
            return text or standing or None
        if text is None:
            del items[n]
            return _kept(mark.join(items).strip())
        items[n] = _inside(items[n], text)
        return mark.join(items)

    return Format(name, "text", read, write, partial=True)


def _inside(item: str, text: str) -> str:
    """The text with the blanks that stood around the item."""
    start = len(item) - len(item.lstrip())
    return item[:start] + text + item[len(item.rstrip()) :]


def line(name: str, label: str) -> Format:
    """The text after `LABEL:` in the first line that begins so. Emptied, the line goes."""
    start = label.strip().removesuffix(":") + ":"
    find = re.compile(rf"(?:\A|(?<=[\r\n])){re.escape(start)}([^\r\n]*)(\r\n|\r|\n|\Z)")

    def read(text: str) -> str | None:
        found = find.search(text)
        return _kept(found[1].strip()) if found else None

    def write(value: Value, standing: str | None) -> str | None:
        text = None if value is None else typed(as_text(value, name)).strip()
        if text and LINE_END.search(text):
            raise ValueError(f"{brief(text)} has more than one line, and the format '{name}' holds one")
        standing = standing or ""
        if text == read(standing):
            return _kept(standing)
        found = find.search(standing)
        if text is None:
            return _kept(_without(standing, found)) if found else _kept(standing)
        if found:
            return f"{standing[: found.start()]}{start} {text}{standing[found.end(1) :]}"
        return f"{_ended(standing)}{start} {text}" if standing.strip() else f"{start} {text}"

    return Format(name, "text", read, write, partial=True)


def _without(text: str, found: re.Match[str]) -> str:
    """The text without the line that was found; the last line goes with the line end before it."""
    if found[2]:
        return text[: found.start()] + text[found.end() :]
    return re.sub(r"(\r\n|\r|\n)\Z", "", text[: found.start()])


def _ended(text: str) -> str:
    """The text with a line end, of the kind that it has."""
    if text.endswith(("\r", "\n")):
        return text
    ends = LINE_END.search(text)
    return text + (ends[0] if ends else "\n")


def _kept(text: str) -> str | None:
    return text if text.strip() else None
