"""How people name a record: `crm:4711`, `erp:12,3` where the key is composite, or the gid."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from agent.bind import nearest
from agent.casework import BURIED
from config.errors import ConfigError, Problem
from config.records import Gid, Key
from state.ports import Link, Record


class Address(NamedTuple):
    """What a person wrote: a gid, or a key in one system."""

    gid: Gid | None = None
    system: str = ""
    key: Key = ""


def parse(text: str, entity: str, widths: Mapping[str, int]) -> Address:
    """`widths`: system -> number of key columns. ConfigError says how it is written."""
    system, colon, key = text.partition(":")
    if not colon:
        gid = text.replace("-", "").lower()
        if len(gid) == 32 and all(c in "0123456789abcdef" for c in gid):
            return Address(gid)
        example = f"{next(iter(widths))}:{text}"
        raise _wrong(f'"{text}" names no record.', f"Write a system and a key, e.g. {example}, or a gid (32 digits).")
    if system not in widths:
        hint = nearest(system, widths) or f"It is in: {', '.join(widths)}."
        raise _wrong(f'{entity} is in no system "{system}".', hint)
    return Address(None, system, _key(key, widths[system], system))


def _key(text: str, width: int, system: str) -> Key:
    if width == 1:
        return text
    parts = json.loads(text) if text.startswith("[") and _is_json(text) else text.split(",")
    if len(parts) != width:
        message = f'"{text}" has {len(parts)} parts, but the key in {system} has {width} columns.'
        hint = f"Write {system}:{','.join('abcdefgh'[:width])} (a part that contains a comma: as a JSON array)."
        raise _wrong(message, hint)
    return json.dumps([str(part) for part in parts], ensure_ascii=False, separators=(",", ":"))


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list)
    except ValueError:
        return False


def _wrong(message: str, hint: str) -> ConfigError:
    return ConfigError(Problem("no-record", message, hint))


def shown(system: str, key: Key) -> str:
    """A key as people write it."""
    if key.startswith('["') and _is_json(key):
        parts = [str(part) for part in json.loads(key)]
        if not any("," in part for part in parts):
            key = ",".join(parts)
    return f"{system}:{key}"


def name(keys: Mapping[str, Key]) -> str:
    """`crm:4711 = erp:88`."""
    return " = ".join(shown(system, key) for system, key in keys.items())


def keys_of(record: Record, systems: Iterable[str], gone: bool = False) -> dict[str, Key]:
    """The record's keys in the order of `systems`; `gone`: also of rows that people deleted or archived."""
    return {s: link.key for s in systems if (link := record.links.get(s)) and _named(link, gone)}


def _named(link: Link, gone: bool) -> bool:
    return (gone or link.existence != "gone") and not link.key.startswith(BURIED)
