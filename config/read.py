"""Which key of a file belongs to which section: the names of systems, entities and fields are the operator's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from config.draft import (
    AGENT_FILE,
    LOOKUPS,
    RESERVED,
    SECTIONS,
    Draft,
    EntityDraft,
    FieldDraft,
    LookupDraft,
    Path,
    keys,
    places,
)
from config.model import (
    AgentOptions,
    EntityOptions,
    FieldOptions,
    LogOptions,
    LookupOptions,
    ReferenceOptions,
    SweepOptions,
    SystemOptions,
    TableOptions,
)
from config.values import PLACE
from config.words import nearest, shown, suggestion


def read_agent_file(draft: Draft, raw: dict[str, Any]) -> None:
    """accord.toml: `[agent]`, `[sweep]`, `[log]` and `[systems.S]`."""
    for key, value in raw.items():
        if key not in AGENT_FILE:
            hint = "Entities stand in files of their own: entities/NAME.toml." if "fields" in keys_of(value) else ""
            draft.wrong((key,), "unknown-key", f"unknown section. {suggestion(key, AGENT_FILE)}", hint)
    if "agent" in raw:
        draft.agent = draft.section(AgentOptions, raw["agent"], ("agent",))
    elif nearest("agent", raw) is None:
        draft.wrong(("agent",), "missing-key", "the section [agent] is missing.", 'Add [agent] with name = "…".')
    if "sweep" in raw:
        draft.sweep = draft.section(SweepOptions, raw["sweep"], ("sweep",))
    if "log" in raw:
        draft.log = draft.section(LogOptions, raw["log"], ("log",))
    read_systems(draft, raw.get("systems"), raw)


def read_systems(draft: Draft, raw: object, file: dict[str, Any]) -> None:
    if not isinstance(raw, dict) or not raw:
        draft.systems_known = False
        if isinstance(raw, dict | None) and nearest("systems", [key for key in file if key != "systems"]) is None:
            hint = "Add [systems.NAME] with url = … for each database."
            draft.wrong(("systems",), "no-systems", "no system is given.", hint)
        elif raw is not None and not isinstance(raw, dict):
            draft.wrong(("systems",), "wrong-type", f"expected sections [systems.NAME], got {shown(raw)}.")
        return
    for name, section in raw.items():
        if not draft.name_ok(("systems", name), "a system", RESERVED):
            draft.misnamed.add(name)
        draft.systems[name] = draft.section(SystemOptions, section, ("systems", name))


def read_entity_file(draft: Draft, raw: dict[str, Any], names: Iterable[str]) -> None:
    """One file of entities, of which `names` are to be read (the others were defined before)."""
    for name in names:
        path = ("entities", name)
        if name == LOOKUPS:
            read_lookups(draft, raw[name], path)
        elif name in SECTIONS:
            hint = "Move it to accord.toml." if name in AGENT_FILE else "Choose another name."
            draft.wrong(path, "reserved-name", f'an entity cannot be called "{name}".', hint)
        elif not isinstance(raw[name], dict):
            message = f"expected a section [{name}], got {shown(raw[name])}."
            draft.wrong(path, "wrong-type", message, "Every key stands in the section of its entity.")
        elif draft.name_ok(path, "an entity", ()):
            draft.entities[name] = read_entity(draft, raw[name], path)


def read_lookups(draft: Draft, raw: object, path: Path) -> None:
    """`[lookups.L]` and `[lookups.L.S]`."""
    if not isinstance(raw, dict):
        draft.lookups_known = False
        draft.wrong(path, "wrong-type", f"expected sections [lookups.NAME], got {shown(raw)}.")
        return
    for name, section in raw.items():
        at = (*path, name)
        draft.name_ok(at, "a lookup", ())
        if not isinstance(section, dict):
            draft.lookups_known = False
            draft.wrong(at, "wrong-type", f"expected a section [lookups.{name}], got {shown(section)}.")
            continue
        options = {key: value for key, value in section.items() if key in keys(LookupOptions)}
        lookup = draft.lookups[name] = LookupDraft(draft.section(LookupOptions, options, at))
        for key, value in section.items():
            if key in options:
                continue
            if key in draft.systems or (not draft.systems_known and isinstance(value, dict)):
                lookup.tables[key] = draft.section(ReferenceOptions, value, (*at, key))
            else:
                meant = draft.unknown_key((*at, key), [*draft.systems, *keys(LookupOptions)])
                lookup.doubtful |= {key, meant or key}


def read_entity(draft: Draft, raw: dict[str, Any], path: Path) -> EntityDraft:
    options = {key: value for key, value in raw.items() if key in keys(EntityOptions) and key not in draft.misnamed}
    entity = EntityDraft(draft.section(EntityOptions, options, path))
    for key, value in raw.items():
        if key in draft.misnamed:
            entity.doubtful.add(key)
        elif key not in options and key != "fields":
            read_table(draft, entity, value, (*path, key))
    if "fields" not in raw:
        entity.mapped = "fields" not in entity.doubtful
    if isinstance(raw.get("fields", {}), dict):
        for name, field in raw.get("fields", {}).items():
            read_field(draft, entity, field, (*path, "fields", name))
    else:
        entity.mapped = False
        draft.wrong((*path, "fields"), "wrong-type", f"expected a section with fields, got {shown(raw['fields'])}.")
    return entity


def read_table(draft: Draft, entity: EntityDraft, raw: object, path: Path) -> None:
    """`[ENTITY.S]`, or a key that is none of ours."""
    name = path[-1]
    if name in draft.systems or (not draft.systems_known and isinstance(raw, dict)):
        part = draft.section(TableOptions, raw, path)
        entity.tables[name] = part
        return
    words = [*draft.systems, "fields", *keys(EntityOptions)]
    meant = nearest(name, words)
    if isinstance(raw, dict) and meant not in keys(EntityOptions) and meant != "fields":
        message = f'no system is called "{name}". {suggestion(name, draft.systems)}'
        draft.wrong(path, "unknown-system", message, "" if meant else f"Add [systems.{name}] to accord.toml.")
    else:
        draft.unknown_key(path, words)
    entity.doubtful |= {name, meant or name}
    if meant in keys(EntityOptions):
        entity.part = type(entity.part)(entity.part.value, entity.part.broken | {meant})


def read_field(draft: Draft, entity: EntityDraft, raw: object, path: Path) -> None:
    """`NAME = { S = "column", …, owner = … }`."""
    name = path[-1]
    draft.name_ok(path, "a field", RESERVED)
    if not isinstance(raw, dict):
        draft.wrong(path, "wrong-type", f"expected {name} = {places(entity)}, got {shown(raw)}.")
        entity.unread.add(name)
        return
    options = {key: value for key, value in raw.items() if key in keys(FieldOptions) and key not in draft.misnamed}
    field = FieldDraft(draft.section(FieldOptions, options, path))
    for key, value in raw.items():
        if key not in options:
            read_place(draft, field, value, (*path, key))
    entity.fields[name] = field


def read_place(draft: Draft, field: FieldDraft, raw: object, path: Path) -> None:
    system = path[-1]
    if draft.systems_known and system not in draft.systems:
        meant = draft.unknown_key(path, [*draft.systems, *keys(FieldOptions)])
        field.doubtful |= {system, meant or system}
        if meant in keys(FieldOptions):
            field.part = type(field.part)(field.part.value, field.part.broken | {meant})
        return
    try:
        place = PLACE.read(raw)
        field.places[system], field.spelled[system] = place.column, place
    except ValueError as e:
        draft.wrong(path + getattr(e, "at", ()), "wrong-value", str(e))
        field.doubtful.add(system)


def keys_of(value: object) -> Iterable[str]:
    return value if isinstance(value, dict) else ()
