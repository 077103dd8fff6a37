"""Key columns, from the bytes of the log to what a SELECT in UTC shows of them. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from adapters.mysql.binlog.layout import DIGITS, INTEGERS, Column, decimal_width
from config.records import Raw

Show = Callable[[bytes], Raw]

CODECS = {
    "utf8mb4": "utf-8",
    "utf8mb3": "utf-8",
    "utf8": "utf-8",
    "ascii": "ascii",
    "latin1": "latin1",  # with what Windows adds: see `_latin1`
    "latin2": "iso8859_2",
    "latin5": "iso8859_9",
    "latin7": "iso8859_13",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp1256": "cp1256",
    "cp1257": "cp1257",
    "greek": "iso8859_7",
    "hebrew": "iso8859_8",
    "koi8r": "koi8_r",
    "koi8u": "koi8_u",
    "ucs2": "utf-16-be",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
}
"""Character sets in which a key is understood. (`binary` is none.)"""

KINDS = "whole numbers, decimals, texts, bytes, dates and times, enum, uuid, inet4 and inet6"


def shower(column: Column, native: str, charset: str | None) -> Show | None:
    """For a column that the database describes as `native`; None: keys of this type are not understood.

    `charset`: its character set, None where it has none.
    """
    word = native.lower().split("(")[0].split(" ")[0]
    type_, meta = column.type, column.meta
    if type_ in INTEGERS:
        signed = not column.unsigned
        return lambda stored: str(int.from_bytes(stored, "little", signed=signed))
    if type_ == 13:
        return lambda stored: f"{stored[0] + 1900 if stored[0] else 0:04}"
    if type_ == 246:
        return lambda stored: decimal(stored, meta >> 8, meta & 0xFF)
    if type_ in (10, 14):
        return date
    if type_ == 17:
        return lambda stored: _fraction(_timestamp(stored), stored[4:], meta)
    if type_ == 18:
        return lambda stored: _fraction(_datetime(stored), stored[5:], meta)
    if type_ == 247:
        return _enum(column, charset)
    if word == "uuid":
        return lambda stored: str(uuid.UUID(bytes=stored.ljust(16, b"\0")))
    if word == "inet4":
        return lambda stored: ".".join(map(str, stored.ljust(4, b"\0")))
    if word == "inet6":
        return lambda stored: _inet6(stored.ljust(16, b"\0"))
    if word in ("char", "varchar", "nchar", "nvarchar", "tinytext", "text", "mediumtext", "longtext"):
        return _text(charset)
    if word == "binary":
        return lambda stored: stored.ljust(meta, b"\0")
    return bytes if word in ("varbinary", "tinyblob", "blob", "mediumblob", "longblob") else None


WORDS = frozenset(("tinyint", "smallint", "mediumint", "int", "bigint", "year", "decimal", "date", "timestamp"))
WORDS |= {"datetime", "char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "binary", "varbinary"}
WORDS |= {"tinyblob", "blob", "mediumblob", "longblob", "uuid", "inet4", "inet6"}


def understood(native: str, charset: str | None) -> bool:
    """Is a key column of this type read from the log?"""
    return native.lower().split("(")[0].split(" ")[0] in WORDS and (charset is None or charset in CODECS)


def _text(charset: str | None) -> Show | None:
    codec = CODECS.get(charset or "")
    if codec == "latin1":
        return _latin1
    return None if codec is None else lambda stored: stored.decode(codec)


def _latin1(stored: bytes) -> str:
    """What the server calls latin1 is Windows' page 1252, with the five holes filled."""
    return stored.decode("cp1252", "surrogateescape").translate({0xDC00 + n: n for n in range(0x80, 0xA0)})


def _enum(column: Column, charset: str | None) -> Show | None:
    show = _text(charset)
    if show is None:
        return None

    def shown(stored: bytes) -> Raw:
        number = int.from_bytes(stored, "little")
        return show(column.choices[number - 1]) if 0 < number <= len(column.choices) else ""

    return shown


def decimal(stored: bytes, precision: int, scale: int) -> str:
    """Nine digits in four bytes; the first bit is turned over, and all bits of a negative number are."""
    negative = not stored[0] & 0x80
    turned = bytes([stored[0] ^ 0x80]) + stored[1:]
    if negative:
        turned = bytes(byte ^ 0xFF for byte in turned)
    whole = precision - scale
    cut = decimal_width(whole, 0)
    left = _group(turned[: DIGITS[whole % 9]], whole % 9) + _nines(turned[DIGITS[whole % 9] : cut])
    right = _nines(turned[cut : cut + scale // 9 * 4]) + _group(turned[cut + scale // 9 * 4 :], scale % 9)
    text = (left.lstrip("0") or "0") + ("." + right if scale else "")
    return f"-{text}" if negative else text


def _group(stored: bytes, digits: int) -> str:
    return str(int.from_bytes(stored, "big")).zfill(digits) if digits else ""


def _nines(stored: bytes) -> str:
    return "".join(_group(stored[i : i + 4], 9) for i in range(0, len(stored), 4))


def date(stored: bytes) -> str:
    number = int.from_bytes(stored, "little")
    return f"{number >> 9:04}-{number >> 5 & 15:02}-{number & 31:02}"


def _datetime(stored: bytes) -> str:
    number = int.from_bytes(stored[:5], "big") - 0x8000000000
    days, seconds = number >> 17, number & 0x1FFFF
    months = days >> 5
    at = f"{months // 13:04}-{months % 13:02}-{days & 31:02}"
    return f"{at} {seconds >> 12:02}:{seconds >> 6 & 63:02}:{seconds & 63:02}"


def _timestamp(stored: bytes) -> str:
    seconds = int.from_bytes(stored[:4], "big")
    if not seconds and not any(stored[4:]):
        return "0000-00-00 00:00:00"
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def _fraction(text: str, stored: bytes, digits: int) -> str:
    if not digits:
        return text
    number = int.from_bytes(stored, "big")
    return f"{text}.{str(number).zfill(len(stored) * 2)[:digits]}"


def _inet6(stored: bytes) -> str:
    """The longest run of zeros is left out, as MariaDB does it: also a single one."""
    words = [int.from_bytes(stored[i : i + 2], "big") for i in range(0, 16, 2)]
    runs = [(next((n for n in range(i, 8) if words[n]), 8) - i, -i) for i in range(8)]
    length, start = max(runs)[0], -max(runs)[1]
    tail = ".".join(map(str, stored[12:]))
    if start == 0 and length == 6:
        return f"::{tail}"
    if start == 0 and length == 5 and words[5] == 0xFFFF:
        return f"::ffff:{tail}"
    shown = [f"{word:x}" for word in words]
    if not length:
        return ":".join(shown)
    return ":".join(shown[:start]) + "::" + ":".join(shown[start + length :])
