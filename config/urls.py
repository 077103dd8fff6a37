"""Where a system is: `postgresql://user@host:port/database`, `mysql://…` (also `mariadb://…`) or `sqlite:PATH`."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TypedDict
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

DIALECTS = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql", "sqlite": "sqlite"}
PORTS = {"postgresql": 5432, "mysql": 3306}
LOGGED = ("postgresql", "mysql")
"""Those whose own log can be read (`capture = "log"`)."""
OPTIONS = {
    "postgresql": ("socket", "sslmode", "sslrootcert", "sslcert", "sslkey"),
    "mysql": ("socket", "ssl_ca", "ssl_cert", "ssl_key"),
}
FORMS = "postgresql://user@host/database, mysql://user@host/database or sqlite:PATH"


class Target(TypedDict, total=False):
    """Where to connect to. SQLite has `path` and nothing else; the others have all but `path`."""

    path: Path  # absolute
    host: str
    port: int
    user: str | None  # None: whatever the driver takes
    database: str
    socket: str | None  # PostgreSQL: the folder of the socket; MariaDB: the socket; host and port then mean nothing
    options: dict[str, str]  # how to encrypt, in the driver's words: sslmode, sslrootcert, ssl_ca …


def parse_url(url: str, folder: Path) -> tuple[str, Target]:
    """The dialect ("postgresql", "mysql" or "sqlite") and the target. Relative paths start at `folder`.

    Raises `ValueError` with a sentence for the person who wrote it, without a password that may stand in it.
    """
    scheme, _, rest = url.partition(":")
    dialect = DIALECTS.get(scheme)
    if dialect is None:
        near = get_close_matches(scheme, [*DIALECTS, "postgres"], n=1)
        meant = {"postgres": "postgresql"}.get(near[0], near[0]) if near else None
        hint = f' Did you mean "{meant}"?' if meant else ""
        raise ValueError(f'expected a url like {FORMS}; "{scheme if rest else "…"}:" is not known.{hint}')
    if dialect == "sqlite":
        return dialect, {"path": sqlite_path(rest, folder)}
    if not rest.startswith("//"):
        raise ValueError(f'expected a url like {FORMS}; "//" is missing after "{scheme}:".')
    return dialect, server(dialect, url)


def sqlite_path(rest: str, folder: Path) -> Path:
    """`sqlite:crm.db` and `sqlite:///abs/crm.db` and `sqlite:/abs/crm.db` are all meant by somebody."""
    name = rest.removeprefix("//")
    if not name or name == ":memory:":
        raise ValueError("expected the path of a SQLite file after sqlite:, for example sqlite:crm.db.")
    return (folder / name).absolute()


def server(dialect: str, url: str) -> Target:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # The parser's words may repeat a part of a password.
        raise ValueError(
            f"the host or the port in this url cannot be read. Write {dialect}://user@host:port/database; "
            'a password does not belong into it, and "/", "@" or ":" in a name is written "%2F", "%40" or "%3A".'
        ) from None
    if parts.password is not None:
        raise ValueError('a password does not belong into the url. Remove it there and write password = "file:…".')
    database = unquote(parts.path.removeprefix("/"))
    if not database or "/" in database:
        raise ValueError(f"expected one database after the host: {parts.scheme}://user@host/DATABASE.")
    options = read_options(dialect, parts)
    return {
        "host": unquote(parts.hostname or "localhost"),
        "port": port or PORTS[dialect],
        "user": unquote(parts.username) if parts.username else None,
        "database": database,
        "socket": options.pop("socket", None),
        "options": options,
    }


def read_options(dialect: str, parts: SplitResult) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in OPTIONS[dialect]:
            raise ValueError(f'unknown option "{name}" in the url. Known here: {", ".join(OPTIONS[dialect])}.')
        options[name] = value
    return options
