"""From the files as they are written to sections that are judged key by key.

Nothing stops at the first error, and no error follows from another one: a section that is wrong in one key goes on
without that key, which is remembered as `broken`, and no rule that would need it is judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from config.errors import Problem
from config.lines import Source
from config.model import (
    AgentOptions,
    DefaultOptions,
    EntityOptions,
    FieldOptions,
    LogOptions,
    LookupOptions,
    Options,
    ReferenceOptions,
    SweepOptions,
    SystemOptions,
    TableOptions,
    locate,
    problem_at,
)
from config.values import Form, Place
from config.words import nearest, shown, suggestion

T = TypeVar("T", bound=Options)
Path = tuple[str, ...]

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
AGENT_FILE = ("agent", "sweep", "log", "systems")  # the sections of accord.toml
LOOKUPS = "lookups"  # the section of a file in entities/ that is no entity
SECTIONS = (*AGENT_FILE, "limits", LOOKUPS)


def keys(model: type[Options]) -> dict[str, str]:
    """Key as it is written -> attribute."""
    return {info.alias or name: name for name, info in model.model_fields.items()}


# Words of the mapping language that have a meaning beside the names of systems and fields. Those of the second line
# mean nothing yet: a configuration that is valid now must stay valid when they do.
RESERVED = {
    *keys(EntityOptions), *keys(TableOptions), *keys(FieldOptions), "fields", "column", "map",
    "from", "only", "part_of", "satellites", "to", "where",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """A section: what of it is valid, and the attributes that are not (or were perhaps meant by an unknown key)."""

    value: T
    broken: frozenset[str] = frozenset()

    def sound(self, name: str) -> bool:
        return name not in self.broken

    def get(self, name: str) -> Any:
        """The value, or None where it is not sound or not written."""
        return None if name in self.broken else getattr(self.value, name, None)


@dataclass(slots=True)
class FieldDraft:
    part: Part[FieldOptions]
    places: dict[str, str] = field(default_factory=dict)  # system -> column
    spelled: dict[str, Place] = field(default_factory=dict)  # system -> all that its place says
    doubtful: set[str] = field(default_factory=set)  # systems whose place was not understood

    def holds(self, system: str) -> bool:
        return system in self.places or system in self.doubtful


@dataclass(slots=True)
class EntityDraft:
    part: Part[EntityOptions]
    tables: dict[str, Part[TableOptions]] = field(default_factory=dict)
    fields: dict[str, FieldDraft] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)  # systems that were not understood
    unread: set[str] = field(default_factory=set)  # fields that were not understood
    mapped: bool = True  # False: [ENTITY.fields] itself was not understood

    def takes_part(self, system: str) -> bool:
        return system in self.tables or system in self.doubtful


@dataclass(slots=True)
class LookupDraft:
    part: Part[LookupOptions]
    tables: dict[str, Part[ReferenceOptions]] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)


def places(entity: EntityDraft) -> str:
    """How a field of this entity is written, for messages."""
    inner = ", ".join(f'{system} = "column"' for system in entity.tables or ("SYSTEM",))
    return f"{{ {inner} }}"


@dataclass(slots=True)
class Draft:
    """Everything that was read, and everything that is wrong with it."""

    source: Source
    sources: dict[str, Source] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    agent: Part[AgentOptions] | None = None
    sweep: Part[SweepOptions] = Part(SweepOptions())
    log: Part[LogOptions] = Part(LogOptions())
    systems: dict[str, Part[SystemOptions]] = field(default_factory=dict)
    misnamed: set[str] = field(default_factory=set)  # systems that are called like an option
    systems_known: bool = True  # False: accord.toml was not understood, and no system can be called unknown
    entities: dict[str, EntityDraft] = field(default_factory=dict)
    lookups: dict[str, LookupDraft] = field(default_factory=dict)
    lookups_known: bool = True  # False: no lookup can be called unknown
    entities_known: bool = True  # False: some file was not understood, and no entity can be called unknown

    def wrong(self, path: Path, code: str, message: str, hint: str = "") -> None:
        self.problems.append(problem_at(locate(self.source, self.sources, path), path, code, message, hint))

    def unknown_key(self, path: Path, known: Iterable[str]) -> str | None:
        """Report it; returns the key that was probably meant."""
        words = list(known)
        self.wrong(path, "unknown-key", f"unknown key. {suggestion(path[-1], words)}")
        return nearest(path[-1], words)

    # --- one section ---

    def section(self, model: type[T], raw: object, path: Path) -> Part[T]:
        """Judge a section key by key."""
        known = keys(model)
        if not isinstance(raw, dict):
            self.wrong(path, "wrong-type", f"expected a section with keys, got {shown(raw)}.")
            return Part(model.model_construct(), frozenset(known.values()))
        try:
            return Part(model.model_validate(raw))
        except ValidationError as e:
            broken = self.report(e, raw, path, model)
        sound = {name: raw[key] for key, name in known.items() if key in raw and name not in broken}
        values = {name: one_value(model, name, value) for name, value in sound.items()}
        return Part(model.model_construct(None, **values), frozenset(broken))

    def report(self, error: ValidationError, raw: Mapping[str, Any], path: Path, model: type[Options]) -> set[str]:
        """Say every error of a section in our own words; returns the attributes that are not sound."""
        broken: set[str] = set()
        known = keys(model)
        missing = [e for e in error.errors() if e["type"] == "missing"]
        for e in error.errors():
            loc = tuple(str(part) for part in e["loc"])
            attribute = known.get(loc[0], loc[0])
            if e["type"] == "extra_forbidden":
                words = keys(DefaultOptions) if loc[0] == "defaults" and len(loc) > 1 else known
                meant = self.unknown_key(path + loc, words)
                broken.add(known.get(meant or "", "") if len(loc) == 1 else attribute)
            elif e["type"] == "value_error":
                cause = e["ctx"]["error"]
                self.wrong(path + loc + getattr(cause, "at", ()), "wrong-value", str(cause))
                broken.add(attribute)
            elif e["type"] != "missing":
                self.wrong(path + loc, "wrong-type", f"expected a section with keys, got {shown(e['input'])}.")
                broken.add(attribute)
        for e in missing:
            key = str(e["loc"][0])
            if known[key] not in broken:  # else an unknown key says it already
                self.wrong((*path, key), "missing-key", "this key is missing and has no default.")
        return broken - {""}

    def name_ok(self, path: Path, what: str, reserved: Iterable[str]) -> bool:
        """Report a name that the language has taken, or that cannot be written where names are written."""
        name = path[-1]
        if name in reserved:
            message = f'{what} cannot be called "{name}": that is a word of the configuration.'
            self.wrong(path, "reserved-name", message, "Choose another name.")
        elif not NAME.fullmatch(name):
            message = f"{what} is called by letters, digits and '_', beginning with a letter."
            self.wrong(path, "bad-name", message, "Choose another name.")
        else:
            return True
        return False


def one_value(model: type[Options], name: str, raw: Any) -> Any:
    """A single value that is known to be sound."""
    form = next((data for data in model.model_fields[name].metadata if isinstance(data, Form)), None)
    return form.read(raw) if form else DefaultOptions.model_validate(raw)
