"""Values and blobs: MessagePack, exact and typed.

Text, int, bool, None, bytes, float and aware datetimes are MessagePack's own; Decimal, date and ints beyond 64 bits
are extensions. What comes out is what went in, type and exponent included: `Decimal('1.50')` keeps its zero, `True`
is not 1, a date is not a datetime.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec.msgpack import Decoder, Encoder, Ext

from config.records import Raw, Stamp, Value
from state.ports import Frozen, Replaced

DECIMAL, DATE, WIDE = 1, 2, 3  # extension codes; they are in files: never reuse one

_PLAIN = {str, int, bool, type(None), bytes, float}  # types that need no look at each value
Places = bytes | tuple[int, ...]  # by field: which of the distinct items; a byte each where that is enough


def _plain_text(item: object) -> str:
    """A text that knows more than its letters (`config.formats.Spelled`): the letters are what is kept."""
    if isinstance(item, str):
        return str(item)
    raise TypeError(f"{type(item).__name__} is no canonical value")


_encode = Encoder(enc_hook=_plain_text).encode


def _extension(code: int, data: memoryview) -> Value:
    text = str(data, "ascii")
    if code == DECIMAL:
        return Decimal(text)
    if code == DATE:
        return date.fromisoformat(text)
    if code == WIDE:
        return int(text)
    raise ValueError(f"extension {code} is not known here")


_decode_any = Decoder(ext_hook=_extension).decode
_decode_row = Decoder(tuple[Any, ...], ext_hook=_extension).decode
_decode_pair = Decoder(tuple[tuple[Any, ...], int | tuple[tuple[int, ...], Places]], ext_hook=_extension).decode
_decode_reasons = Decoder(tuple[tuple[tuple[str, str], ...], Places]).decode


def _tagged(value: Any) -> Any:
    kind = type(value)
    if kind is Decimal:
        return Ext(DECIMAL, str(value).encode())
    if kind is date:
        return Ext(DATE, value.isoformat().encode())
    if kind is datetime and value.tzinfo is None:
        raise ValueError(f"a naive datetime is no canonical value: {value!r}")
    return value


def _tags(values: Sequence[Any]) -> Sequence[Any]:
    return values if _PLAIN.issuperset(map(type, values)) else list(map(_tagged, values))


def _widened(item: Any) -> Any:
    if type(item) is int and not -(2**63) <= item < 2**63:
        return Ext(WIDE, str(item).encode())
    if isinstance(item, dict):
        return {k: _widened(v) for k, v in item.items()}
    return list(map(_widened, item)) if isinstance(item, (list, tuple)) else item


def _pack(item: Any) -> bytes:
    try:
        return _encode(item)
    except OverflowError:  # MessagePack ends at 64 bits; such numbers are rare enough to pay for a second pass
        return _encode(_widened(item))


def _distinct(items: Iterable[Any]) -> tuple[tuple[Any, ...], Places]:
    """The distinct ones, and which of them stands at each place."""
    found: dict[Any, int] = {}
    places = [found.setdefault(item, len(found)) for item in items]
    return tuple(found), bytes(places) if len(found) <= 256 else tuple(places)


def pack_value(value: Value) -> bytes | None:
    """One canonical value; None stays None."""
    if value is None:
        return None
    return _encode(value) if type(value) is str else _pack(_tagged(value))


def unpack_value(blob: bytes | None) -> Value:
    return None if blob is None else _decode_any(blob)


def pack_row(values: Sequence[Value | Raw]) -> bytes:
    """One item per field."""
    return _pack(_tags(values))


def pack_texts(texts: Sequence[Raw]) -> bytes:
    """As `pack_row`, where all are known to be text, bytes or None."""
    return _encode(texts)


def unpack_row(blob: bytes) -> tuple[Any, ...]:
    return _decode_row(blob)


def pack_pair(values: Sequence[Value], stamps: Sequence[Stamp]) -> bytes:
    """Values and their stamps, together because versions and images are mostly equal in both.

    A record has few distinct stamps: they are kept once, and by field their place.
    """
    at = _distinct(stamps)
    return _pack((_tags(values), at[0][0] if len(at[0]) == 1 else at))


def unpack_pair(blob: bytes) -> tuple[tuple[Value, ...], tuple[Stamp, ...]]:
    values, stamps = _decode_pair(blob)
    if isinstance(stamps, int):
        return values, (stamps,) * len(values)
    distinct, places = stamps
    return values, tuple(map(distinct.__getitem__, places))


@lru_cache(maxsize=4096)  # a few combinations serve all records
def pack_reasons(origins: tuple[str, ...], rules: tuple[str, ...]) -> bytes:
    """Origins and rules, one of each per field."""
    return _encode(_distinct(zip(origins, rules, strict=True)))


@lru_cache(maxsize=4096)
def unpack_reasons(blob: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    distinct, places = _decode_reasons(blob)
    pairs = [distinct[place] for place in places]
    return tuple(origin for origin, _ in pairs), tuple(rule for _, rule in pairs)


def pack_frozen(frozen: dict[str, Frozen]) -> bytes | None:
    if not frozen:
        return None
    return _pack(
        {
            unit: (item.raws, {system: _tags(row) for system, row in item.values.items()}, *item[2:])
            for unit, item in frozen.items()
        }
    )


def _tuples(rows: dict[str, list[Any]]) -> dict[str, tuple[Any, ...]]:
    return {system: tuple(row) for system, row in rows.items()}


def unpack_frozen(blob: bytes | None) -> dict[str, Frozen]:
    if blob is None:
        return {}
    return {
        unit: Frozen(_tuples(raws), _tuples(values), stamps, review, choice)
        for unit, (raws, values, stamps, review, choice) in _decode_any(blob).items()
    }


def pack_stale(stale: dict[tuple[str, str], list[Replaced]]) -> bytes | None:
    rows: Iterable[Any] = [(*place, list(map(tuple, items))) for place, items in stale.items() if items]
    return _pack(rows) if rows else None


def unpack_stale(blob: bytes | None) -> dict[tuple[str, str], list[Replaced]]:
    if blob is None:
        return {}
    return {(system, name): [Replaced(*item) for item in items] for system, name, items in _decode_any(blob)}


def pack_lines(lines: Iterable[tuple[str, Value, Value]]) -> bytes:
    """Fields with their values before and after."""
    return _pack([_tags(line) for line in lines])


def unpack_lines(blob: bytes | None) -> list[tuple[str, Value, Value]]:
    return [] if blob is None else [tuple(line) for line in _decode_any(blob)]


# --- images: each is kept encoded, so that one that has not changed is carried along as it is -----------------------


class Entry(NamedTuple):
    """The image of one system, encoded."""

    system: int
    layout: int
    seen: Stamp
    raws: bytes  # `pack_row`
    stands: bytes | None  # `pack_pair`; None: it stands for the record's version, in the record's layout


_decode_entries = Decoder(tuple[tuple[int, int, int, bytes, bytes | None], ...]).decode
_decode_undo = Decoder(tuple[tuple[int, tuple[int, int, int, bytes, bytes | None] | None], ...]).decode


def pack_images(entries: Iterable[Sequence[Any]]) -> bytes | None:
    rows = list(entries)
    return _encode(rows) if rows else None


def unpack_entries(blob: bytes | None) -> tuple[tuple[int, int, Stamp, bytes, bytes | None], ...]:
    """As `unpack_images`, plain tuples: for many at once."""
    return () if blob is None else _decode_entries(blob)


def unpack_images(blob: bytes | None) -> list[Entry]:
    return [] if blob is None else [Entry(*row) for row in _decode_entries(blob)]


def pack_undo(rows: Iterable[tuple[int, Sequence[Any] | None]]) -> bytes:
    """By slot: the image before, which stands for what it says itself."""
    return _encode(list(rows))


def unpack_undo(blob: bytes) -> list[tuple[int, Entry | None]]:
    return [(slot, None if row is None else Entry(*row)) for slot, row in _decode_undo(blob)]


def replaced(blob: bytes | None, system: int, new: Entry | None, layout: int, agreed: bytes | None) -> bytes | None:
    """The images with another one for this system (None: with none). `layout`, `agreed`: the record's."""
    entries = [entry for entry in unpack_images(blob) if entry.system != system]
    if new is not None:
        same = new.layout == layout and new.stands is not None and new.stands == agreed
        entries.append(new._replace(stands=None) if same else new)
    return pack_images(entries)
