"""`load` finds the configuration, reads all of it, and says everything that is wrong with it at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config.check import check
from config.draft import Draft, EntityDraft, FieldDraft, LookupDraft, Part
from config.errors import ConfigError, Problem
from config.find import display, find, read_toml
from config.lines import Source
from config.model import (
    AgentConfig,
    Config,
    EntityConfig,
    FieldConfig,
    LookupConfig,
    Options,
    ReferenceOptions,
    SystemConfig,
    SystemOptions,
    TableConfig,
    locate,
)
from config.read import read_agent_file, read_entity_file
from config.values import CONFLICT_RULES

ENTITIES = "entities"


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ, cwd: Path | None = None) -> Config:
    """The configuration at `path` (else where `find` looks). Raises `ConfigError` with all problems, in the order in
    which they stand in the files. Relative names in messages start at `cwd`; no secret is read.
    """
    cwd = cwd or Path.cwd()
    file = find(path, environ, cwd)
    draft = Draft(Source(display(file, cwd), {}))
    files = [draft.source.name]
    answer = read_toml(file, draft.source.name)
    if isinstance(answer, Problem):
        draft.problems.append(answer)
        draft.systems_known = False
    else:
        raw, draft.source = answer
        read_agent_file(draft, raw)
    files += read_entities(draft, file.parent / ENTITIES, cwd)
    check(draft)
    if draft.problems:
        order = {name: number for number, name in enumerate(files)}
        raise ConfigError(sorted(draft.problems, key=lambda p: (order.get(p.file or "", len(files)), p.line or 0)))
    return assemble(draft, file.absolute(), dict(environ))


def read_entities(draft: Draft, folder: Path, cwd: Path) -> list[str]:
    """Read `entities/*.toml` in name order; returns the names of the files as messages show them."""
    shown = display(folder, cwd)
    try:
        files = sorted(p for p in folder.iterdir() if p.suffix == ".toml" and not p.name.startswith("."))
    except OSError as e:
        hint = "Make it, with a file per entity like customer.toml."
        missing = "there is no such folder" if isinstance(e, FileNotFoundError) else f"cannot be read ({e.strerror})"
        draft.problems.append(Problem("no-entities", f"{missing}; the entities stand there.", hint, shown))
        return []
    known = len(draft.problems)
    for file in files:
        read_one(draft, file, display(file, cwd))
    if not draft.sources and len(draft.problems) == known:
        hint = "Add a file per entity, like customer.toml with a section [customer]."
        draft.problems.append(Problem("no-entities", "no file here has an entity.", hint, shown))
    return [display(file, cwd) for file in files]


def read_one(draft: Draft, file: Path, name: str) -> None:
    answer = read_toml(file, name)
    if isinstance(answer, Problem):
        draft.problems.append(answer)
        draft.entities_known = False
        return
    raw, source = answer
    fresh = [entity for entity in raw if entity not in draft.sources]
    for entity in (entity for entity in raw if entity in draft.sources):
        first, line = locate(draft.source, draft.sources, (ENTITIES, entity))
        message = f"{entity}: this entity is defined already, in {first}:{line}."
        at = source.line((entity,))
        problem = Problem("defined-twice", message, "An entity stands in one file.", name, at, entity=entity)
        draft.problems.append(problem)
    draft.sources |= dict.fromkeys(fresh, source)
    read_entity_file(draft, raw, fresh)


# --- from what is written to what holds ------------------------------------------------------------------------------


def values(part: Part[Any]) -> dict[str, Any]:
    options: Options = part.value
    return {name: getattr(options, name) for name in type(options).model_fields}


def assemble(draft: Draft, file: Path, environ: Mapping[str, str]) -> Config:
    """Everything is valid: resolve what follows from other sections."""
    folder = file.parent
    assert draft.agent is not None  # else a problem was reported
    written = values(draft.agent)
    agent = AgentConfig.model_construct(None, **(written | {"state": folder / written["state"]}))
    systems = {name: assemble_system(draft, name, part, agent, folder, environ) for name, part in draft.systems.items()}
    entities = {name: assemble_entity(name, entity, systems, agent) for name, entity in draft.entities.items()}
    lookups = {name: assemble_lookup(name, lookup) for name, lookup in draft.lookups.items()}
    return Config(
        agent, draft.sweep.value, draft.log.value, systems, entities, folder, file, draft.source, draft.sources, lookups
    )


def assemble_lookup(name: str, draft: LookupDraft) -> LookupConfig:
    whole = values(draft.part)
    tables = {}
    for system, part in draft.tables.items():
        written = values(part)
        written["format"] = whole["format"] if written["format"] is None else written["format"]
        tables[system] = ReferenceOptions.model_construct(None, **written)
    return LookupConfig.model_construct(None, **whole, name=name, systems=tables)


def assemble_system(
    draft: Draft, name: str, part: Part[SystemOptions], agent: AgentConfig, folder: Path, environ: Mapping[str, str]
) -> SystemConfig:
    written = values(part)
    return SystemConfig.model_construct(
        None,
        **(written | {"poll": written["poll"] or agent.poll}),
        name=name,
        folder=folder,
        environ=environ,
        at=locate(draft.source, draft.sources, ("systems", name, "password")),
    )


def assemble_entity(
    name: str, entity: EntityDraft, systems: Mapping[str, SystemConfig], agent: AgentConfig
) -> EntityConfig:
    written = values(entity.part)
    tables = {
        system: assemble_table(name, whole, entity) for system, whole in systems.items() if system in entity.tables
    }
    delete, create = written["delete"], written["create"]
    written |= {
        "delete": {s: delete.get(s, "review") if isinstance(delete, dict) else delete for s in tables},
        "create": {s: create.get(s, True) if isinstance(create, dict) else create for s in tables},
        "tolerance": written["tolerance"] or agent.tolerance,
        "sweep": written["sweep"] or agent.sweep,
    }
    fields = {field: assemble_field(field, draft, written) for field, draft in entity.fields.items()}
    return EntityConfig.model_construct(None, **written, name=name, systems=tables, fields=fields)


def assemble_table(entity: str, system: SystemConfig, draft: EntityDraft) -> TableConfig:
    written = values(draft.tables[system.name])
    written |= {"capture": written["capture"] or system.capture, "write": written["write"] and system.write}
    written["triggers"] = written["triggers"] or system.triggers
    return TableConfig.model_construct(None, **written, entity=entity, system=system.name)


def assemble_field(name: str, draft: FieldDraft, entity: Mapping[str, Any]) -> FieldConfig:
    written = values(draft.part)
    kind, _, digits = (written["type"] or "").partition("(")
    written |= {
        "type": kind or None,
        "owner": written["owner"] or held(entity["owner"], draft),
        "override": written["override"] or entity["override"],
        "conflict": written["conflict"] or held(entity["conflict"], draft) or "latest",
    }
    if written["conflict"] == "sum":  # adds up what all systems do: nobody owns it
        written["owner"] = None
    scale = int(digits.removesuffix(")")) if digits else None
    whole = written["format"]
    formats = {s: whole if p.format is None else p.format for s, p in draft.spelled.items()}
    return FieldConfig.model_construct(
        None,
        **written,
        name=name,
        places=dict(draft.places),
        maps={s: p.map for s, p in draft.spelled.items() if p.map},
        formats={s: f for s, f in formats.items() if f},
        scale=scale,
    )


def held(word: str | None, draft: FieldDraft) -> str | None:
    """What the entity says of a system holds for the fields that this system holds."""
    named = word.removeprefix("prefer:") if word else None
    return word if named in draft.places or named in CONFLICT_RULES else None
