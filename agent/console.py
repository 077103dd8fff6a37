"""What a command says: its report to stdout, progress and log to stderr, and the same for programs with --json."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import click

from config.errors import DONE, Problem
from config.records import Stamp

T = TypeVar("T")

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Output:
    """One command's voice."""

    def __init__(self, version: str = "", json: bool = False) -> None:
        self.version = version
        self.json = json
        self.command = ""
        self.config: Path | None = None  # as --config says; None: where `config.find` looks
        self.data: dict[str, Any] = {}  # what --json shows
        self.problems: list[Problem] = []  # what is wrong; printed at the end, or given in JSON
        self.stream = False  # JSON lines go out one by one (`line`); an object at the end only if it says something

    def say(self, text: str = "") -> None:
        """A line of the report; nothing in JSON form."""
        if not self.json:
            click.echo(text)

    def note(self, text: str) -> None:
        """A line of the log."""
        click.echo(text, err=True)

    def line(self, data: Mapping[str, Any]) -> None:
        """JSON form only: one object of its own, at once (`run --json`)."""
        if self.json:
            self._write(DONE, data, [])
            sys.stdout.flush()

    def finish(self, exit: int) -> None:
        """The end: everything in one JSON object, or the problems on stderr."""
        if self.json:
            if self.problems or self.data or not self.stream:
                self._write(exit, self.data, self.problems)
            return
        for problem in self.problems:
            click.echo(str(problem), err=True)

    def _write(self, exit: int, data: Mapping[str, Any], problems: Iterable[Problem]) -> None:
        whole = {
            "accord": self.version,
            "command": self.command,
            "exit": exit,
            "data": plain(data),
            "problems": [asdict(p) for p in problems],
        }
        click.echo(json.dumps(whole, ensure_ascii=False))

    def progress(self, what: str, total: int | None, items: Iterable[T]) -> Iterator[T]:
        """Hand the items on, and show how many, how fast and how long still, when stderr is a terminal."""
        meter = Meter(what, total)
        for item in items:
            yield item
            meter.add(1)
        meter.close()


class Meter:
    """A line on stderr that keeps changing while long work goes on; nothing when stderr is no terminal."""

    def __init__(self, what: str, total: int | None = None) -> None:
        self._what, self._total, self._done = what, total, 0
        self._begun = self._shown = time.monotonic()
        self._visible = sys.stderr.isatty()

    def add(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if self._visible and now - self._shown >= 0.2:
            self._shown = now
            click.echo(f"\r\x1b[K{self._text(now - self._begun)}", nl=False, err=True)

    def _text(self, seconds: float) -> str:
        rate = self._done / seconds if seconds > 0 else 0.0
        text = f"{self._what}: {self._done:,}"
        if not self._total or self._done > self._total:
            return f"{text} ({rate:,.0f}/s)"
        left = (self._total - self._done) / rate if rate else 0.0
        return f"{text} of {self._total:,} ({rate:,.0f}/s, {span(left)} left)"

    def close(self) -> None:
        """Wipe the line."""
        if self._visible:
            click.echo("\r\x1b[K", nl=False, err=True)


def common(function: Callable[..., int]) -> Callable[..., int]:
    """What every command has: --config and --json. The function gets an `Output` as its first argument."""

    @click.option("--config", type=click.Path(path_type=Path), help="The agent's file (default: ./accord.toml).")
    @click.option("--json", is_flag=True, help="For programs: one JSON object on stdout.")
    @click.pass_context
    @functools.wraps(function)
    def wrapped(ctx: click.Context, /, config: Path | None, json: bool, **rest: Any) -> int:
        out = ctx.ensure_object(Output)
        out.command, out.config, out.json = ctx.info_name or "", config or out.config, json
        return function(out, **rest)

    return wrapped


def plain(value: Any) -> Any:
    """For JSON: decimals are text, times ISO 8601 UTC with Z, bytes hexadecimal."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return value


def moment(stamp: Stamp | None) -> datetime | None:
    """A stamp as a time, for `Output.data`."""
    return (
        None
        if stamp is None
        else datetime.fromtimestamp(stamp // 1_000_000, UTC).replace(microsecond=stamp % 1_000_000)
    )


def clock(stamp: Stamp) -> str:
    """A stamp for people: date and time, UTC."""
    return f"{moment(stamp):%Y-%m-%d %H:%M:%S}"


def span(seconds: float) -> str:
    """A length of time for people."""
    whole = max(0, round(seconds))
    if whole < 100:
        return f"{whole} s"
    if whole < 6000:
        return f"{whole // 60} min {whole % 60} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days"


def number(count: int, one: str, many: str | None = None) -> str:
    """`1 record`, `2,000 records`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def script(out: Output, system: str, sql: str) -> None:
    """SQL for whoever administers a system, under its name."""
    out.say(f"-- {system}")
    out.say(sql.rstrip())
    out.say()
