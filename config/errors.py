"""Every way in which Accord says no, and what a person reads then.

AccordError
├── ConfigError      the configuration or the command line is wrong           exit 3
├── Transient        try again later (a lock, a cut connection)               exit 4
│   └── Unreachable  a system does not answer, or refuses the account         exit 4
├── Rejected         this record: it goes to review, the rest goes on         exit 2
├── Halt             this entity or system stops until a person acts          exit 2
└── Taken            another agent holds the state file or the fence          exit 5
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

DONE, DEFECT, LOOK, USAGE, UNREACHABLE, TAKEN, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: what, where, and what to do. Reads the same everywhere."""

    code: str  # stable word for programs, e.g. "unknown-key", "no-primary-key", "refused"
    message: str  # what is wrong, one sentence, in words of the person who reads it
    hint: str = ""  # what to do about it, one sentence; empty when the message says it all
    file: str | None = None
    line: int | None = None
    system: str | None = None
    entity: str | None = None
    key: str | None = None
    field: str | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file and self.line else (self.file or "")
        if not place:
            place = " ".join(str(x) for x in (self.system, self.entity, self.key, self.field) if x is not None)
        text = f"{place}: {self.message}" if place else self.message
        if self.hint.endswith("?"):  # Did you mean …? says by itself what to do
            return f"{text} {self.hint}"
        return f"{text} What to do: {self.hint}" if self.hint else text


class AccordError(Exception):
    """Base of all. `problems` says what happened; `exit` is the process's exit code."""

    exit = DEFECT

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: list[Problem] = [problems] if isinstance(problems, Problem) else list(problems)
        super().__init__("\n".join(str(p) for p in self.problems))

    @property
    def problem(self) -> Problem:
        return self.problems[0]


class ConfigError(AccordError):
    """The configuration or the command line is wrong; nothing was done."""

    exit = USAGE


class Transient(AccordError):
    """The same call may succeed later: a lock timeout, a deadlock, a connection that was cut."""

    exit = UNREACHABLE


class Unreachable(Transient):
    """A system does not answer, or refuses the account."""


class Rejected(AccordError):
    """The database (or a rule) refuses this one record; it goes to review with the database's own words."""

    exit = LOOK


class Halt(AccordError):
    """An entity or a system stops here: going on could do harm, and only a person can say how."""

    exit = LOOK


class Taken(AccordError):
    """Another agent holds the state file or the fence."""

    exit = TAKEN
