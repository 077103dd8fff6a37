"""Keys: between a row's key columns and the one text that stands for them (`config.records.Key`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adapters.convert import Dialect, key_text, say
from config.records import Column, Key, Raw, Table


def pack(texts: Sequence[str]) -> Key:
    """The key of these column texts: the text itself, or a compact JSON array when there are several."""
    return texts[0] if len(texts) == 1 else json.dumps(list(texts), ensure_ascii=False, separators=(",", ":"))


def unpack(key: Key, count: int) -> tuple[str, ...]:
    """The texts of a key of `count` columns. ValueError if the text is no such key."""
    if count == 1:
        return (key,)
    try:
        texts = json.loads(key)
    except ValueError:
        texts = None
    if not isinstance(texts, list) or len(texts) != count or not all(isinstance(t, (str, int)) for t in texts):
        raise ValueError(f"{say(key)} is not a key of {count} columns")
    return tuple(str(t) for t in texts)


def key_of(columns: Sequence[Column], raws: Sequence[Raw], dialect: Dialect) -> Key:
    """The key of a row whose key columns hold `raws`."""
    return pack([key_text(column, raw, dialect) for column, raw in zip(columns, raws, strict=True)])


def normal(columns: Sequence[Column], key: Key, dialect: Dialect) -> Key:
    """A key as a trigger or a person wrote it, in the spelling that `key_of` gives. ValueError if it is none."""
    texts = unpack(key, len(columns))
    return pack([_normal(column, text, dialect) for column, text in zip(columns, texts, strict=True)])


def _normal(column: Column, text: str, dialect: Dialect) -> str:
    if column.kind == "bytes":  # triggers write hexadecimal, in whatever case their server likes
        return text.removeprefix("\\x").lower()
    return key_text(column, text, dialect)


def params(columns: Sequence[Column], key: Key, dialect: Dialect) -> tuple[Any, ...]:
    """The key as parameters, one per column. ValueError (text says why) if it cannot be a key of these columns."""
    return tuple(_param(c, text, dialect) for c, text in zip(columns, unpack(key, len(columns)), strict=True))


def _param(column: Column, text: str, dialect: Dialect) -> Any:
    if column.kind == "bytes":
        return "\\x" + text if dialect.hex_bytes else bytes.fromhex(text)
    if column.kind == "int":
        try:
            number = int(text)
        except ValueError:
            raise ValueError(f"{say(text)} cannot be a key: {column.name} holds whole numbers") from None
        return number if dialect.typed else text
    return text


def newest(moves: Iterable[tuple[Key, Key]], keys: Iterable[Key]) -> dict[Key, Key]:
    """Old key -> newest key, by the (old, new) key changes of a table in the order in which they happened.

    A key that never moved, or came back to itself, is missing.
    """
    origins: dict[Key, set[Key]] = {key: {key} for key in keys}  # where a row is now -> under which keys it was asked
    for old, new in moves:
        origins.setdefault(new, set()).update(origins.pop(old, ()))
    return {origin: now for now, asked in origins.items() for origin in asked if origin != now}


def sort_key(table: Table, key: Key) -> tuple[Any, ...]:
    """Keys in an order that people expect: numbers by value, texts by code point."""
    texts = unpack(key, len(table.key))
    return tuple(int(t) if c.kind == "int" else t for c, t in zip(table.key, texts, strict=True))


def oldest(moves: Mapping[Key, Key], key: Key) -> Key | None:
    """Where a chain of key changes began: 3 was 2 was 1. (A key that came back is its own origin.)"""
    seen, before = {key}, moves.get(key)
    while before is not None and before not in seen:
        seen.add(before)
        if before not in moves:
            return before
        before = moves[before]
    return None
