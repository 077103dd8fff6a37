"""Formats of text: e-mail addresses, web addresses, several lines, case and blanks."""

from __future__ import annotations

import re

from config.formats.form import Format, as_text, as_typed, brief, of_text, typed
from config.records import Value

LINE_END = re.compile(r"\r\n|\r|\n")
URL = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(//)?(?:([^/?#]*)@)?([^/?#@]*)([^?#]*)(.*)", re.DOTALL)
DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def email(name: str) -> Format:
    """Compared without case, written as typed."""
    return as_typed(name, read_email)


def read_email(text: str) -> str:
    address = text.strip()
    user, _, host = address.partition("@")
    if any(c.isspace() for c in address) or not (user and host) or "@" in host:
        raise ValueError(f"{brief(address)} is no e-mail address")
    if any(c in '<>()[],;:\\"' for c in address):
        raise ValueError(f"{brief(address)} is more than one plain e-mail address")
    return address.lower()


def url(name: str) -> Format:
    """Compared without http or https, the case of the host, and a slash at the end; written as typed."""
    return as_typed(name, read_url)


def read_url(text: str) -> str:
    address = text.strip()
    if any(c.isspace() for c in address):
        raise ValueError(f"{brief(address)} is no web address: it holds blanks")
    found = URL.fullmatch(address)
    scheme, slashes, user, host, path, rest = found.groups(default="") if found else ("",) * 6
    if scheme and not slashes:  # host:port, or mailto:…
        scheme, host = "", f"{scheme}:{host}"
    scheme, host = scheme.lower(), host.lower()
    if not re.fullmatch(r"[^:]+(:[0-9]+)?", host) or not (slashes or ("." in host.strip(".") and not user)):
        raise ValueError(f"{brief(address)} is no web address")
    host = host.removesuffix(DEFAULT_PORTS.get(scheme, " "))
    start = f"{scheme}://" if scheme not in ("", "http", "https") else ""
    if not start and (user or "." not in host.strip(".")):
        start = "//"  # without it, this would not be read again
    return f"{start}{user}{'@' if user else ''}{host}{path if rest else path.rstrip('/')}{rest}"


def lines(name: str) -> Format:
    """Line ends, and blanks at the end of a line or of the text, do not matter."""

    def write(value: Value, standing: str | None) -> str | None:
        if value is None:
            return None
        text = read_lines(typed(as_text(value, name)))
        return text.replace("\n", "\r\n") if standing and "\r\n" in standing else text

    return Format(name, "text", read_lines, write)


def read_lines(text: str) -> str:
    return "\n".join(line.rstrip() for line in LINE_END.split(text)).rstrip()


def trim(name: str) -> Format:
    return of_text(name, str.strip)


def upper(name: str) -> Format:
    return of_text(name, str.upper)


def lower(name: str) -> Format:
    return of_text(name, str.lower)
