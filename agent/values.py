"""What a value becomes in a column, as far as that can be foretold. Pure.

`fit(column, value)` is the canonical value that comes back after `value` was stored in `column`. What cannot be
foretold (triggers, generated columns) is known from the read-back.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal

from config.records import Column, Raw, Stamp, Value

Fit = Callable[[Value], Value]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def fitter(column: Column) -> Fit | None:
    """`fit` for one column; None when every value of the column's type comes back as it went in."""
    if column.kind == "text":
        return _text(column)
    if column.kind in ("decimal", "int"):
        scale = 0 if column.kind == "int" else column.scale
        return None if scale is None else lambda v: _round(v, scale)
    if column.kind == "float":
        return _single if column.precision == 24 else _double
    if column.kind in ("datetime", "time") and column.fraction is not None and column.fraction < 6:
        step = 10 ** (6 - column.fraction)
        return lambda v: v.replace(microsecond=v.microsecond // step * step) if isinstance(v, datetime) else v
    if column.kind == "bytes" and column.length is not None:
        size = column.length
        return lambda v: v[:size] if isinstance(v, bytes) else v
    return None


def harmless(column: Column) -> Fit | None:
    """`fit` where the column is not declared lossy: a time compares at the coarser precision, padding means nothing."""
    if column.kind in ("datetime", "time"):
        return fitter(column)
    return _text(replace(column, length=None, charset=None)) if column.kind == "text" else None


def whole(column: Column) -> Fit | None:
    """Gives back every value that the column holds whole, and something else for one that it does not."""
    if column.kind in ("datetime", "time"):
        return None
    if column.kind == "int":
        return lambda v: v if not isinstance(v, (int, Decimal)) or (_in_range(column, v) and v == int(v)) else None
    return fitter(column)


def fit(column: Column | None, value: Value) -> Value:
    """The canonical value that comes back after `value` was stored in `column`."""
    if column is None or value is None:
        return value
    f = fitter(column)
    return value if f is None else f(value)


def loss(column: Column, value: Value) -> str | None:
    """Why the column cannot hold the value whole; None if it can. A coarser time is no loss: it compares coarser."""
    if value is None or column.kind in ("datetime", "time"):
        return None
    if column.kind == "int" and isinstance(value, (int, Decimal)) and not _in_range(column, value):
        return f"{value} does not fit into {column.name} ({column.native})"
    if fit(column, value) == value:
        return None
    if column.kind == "text" and isinstance(value, str):
        if column.length is not None and len(value) > column.length:
            return f"{len(value)} characters do not fit into {column.name} ({column.length})"
        return f"{column.name} cannot hold some of its characters ({column.charset})"
    if column.kind == "bytes" and isinstance(value, bytes):
        return f"{len(value)} bytes do not fit into {column.name} ({column.length})"
    return f"{show(value)} does not fit exactly into {column.name} ({column.native})"


def _in_range(column: Column, value: int | Decimal) -> bool:
    bits: int = column.precision or 64
    if "unsigned" in column.native.lower():
        return bool(0 <= value < 2**bits)
    return bool(-(2 ** (bits - 1)) <= value < 2 ** (bits - 1))


def _text(column: Column) -> Fit | None:
    length, charset, padded = column.length, column.charset, column.padded
    if length is None and charset is None and not padded:
        return None

    def fit_text(value: Value) -> Value:
        if not isinstance(value, str):
            return value
        if charset == "utf8mb3":
            value = "".join(c if c <= "\uffff" else "?" for c in value)
        elif charset is not None:
            value = value.encode(charset, "replace").decode(charset)
        if length is not None:
            value = value[:length]
        return (value.rstrip(" ") if padded else value) or None

    return fit_text


def _round(value: Value, scale: int) -> Value:
    if not isinstance(value, Decimal) or not value.is_finite():
        return value
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and -exponent <= scale:
        return value
    return value.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)


def rounding(decode: Callable[[Raw], Value] | None, scale: int | None) -> Callable[[Raw], Value] | None:
    """A decoder of a field that is declared as decimal(scale): what is agreed has so many digits after the point."""
    if decode is None or scale is None:
        return decode
    return lambda raw: _round(decode(raw), scale)


def _double(value: Value) -> Value:
    return Decimal(repr(float(value))) if isinstance(value, (int, Decimal)) and not isinstance(value, bool) else value


def _single(value: Value) -> Value:
    if not isinstance(value, (int, Decimal)) or isinstance(value, bool):
        return value
    try:
        stored = struct.unpack("f", struct.pack("f", float(value)))[0]
    except OverflowError:
        return value
    for digits in range(6, 10):  # the shortest decimal that gives the same single-precision number
        text = f"{stored:.{digits}g}"
        if struct.unpack("f", struct.pack("f", float(text)))[0] == stored:
            return Decimal(text)
    return Decimal(repr(stored))


# --- showing -----------------------------------------------------------------------------------------------------


def stamp_text(stamp: Stamp | None, spec: str = "seconds") -> str:
    """A stamp for people: '2026-11-24 09:13:58' UTC; '' for none."""
    if not stamp or stamp < 0:
        return ""
    moment = datetime.fromtimestamp(stamp // 1_000_000, UTC).replace(microsecond=stamp % 1_000_000, tzinfo=None)
    return moment.isoformat(" ", spec)


def json_value(value: Value) -> str | int | bool | None:
    """A canonical value for JSON: decimals as strings, times as ISO 8601 with Z, bytes as hex."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, str) else value  # a spelling (`config.formats`) is for the columns only


def show(value: Value, width: int = 0) -> str:
    """A canonical value for people: `–` for empty; cut to `width` with `…`."""
    text = "–" if value is None else str(json_value(value))
    return text[: width - 1] + "…" if 0 < width < len(text) else text
