"""JSON Schemas (2020-12) of the two kinds of files, for editors. They check keys and forms; what must hold between
sections, `load` says."""

from __future__ import annotations

from typing import Any

from pydantic.fields import FieldInfo

from config.draft import LOOKUPS, NAME, RESERVED, SECTIONS
from config.model import (
    AgentOptions,
    EntityOptions,
    FieldOptions,
    LogOptions,
    LookupOptions,
    Options,
    ReferenceOptions,
    SweepOptions,
    SystemOptions,
    TableOptions,
)
from config.values import DURATION, PLACE, SIZE, WINDOW, Form, write_duration, write_size

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def accord_schema() -> dict[str, Any]:
    """The schema of accord.toml."""
    return {
        "$schema": DIALECT,
        "title": "accord.toml",
        "type": "object",
        "properties": {
            "agent": section(AgentOptions),
            "sweep": section(SweepOptions),
            "log": section(LogOptions),
            "systems": named(section(SystemOptions)),
        },
        "required": ["agent", "systems"],
        "additionalProperties": False,
    }


def entity_schema() -> dict[str, Any]:
    """The schema of a file in entities/."""
    entity = section(EntityOptions, others=section(TableOptions))
    field = section(FieldOptions, others=dict(PLACE.schema))
    entity["properties"]["fields"] = {**named(field), "description": summary(FieldOptions)}
    entity["required"] = ["fields"]
    lookup = section(LookupOptions, others=section(ReferenceOptions))
    lookups = {**named(lookup), "description": summary(LookupOptions)}
    reserved = [name for name in SECTIONS if name != LOOKUPS]
    return {
        "$schema": DIALECT,
        "title": "entities/*.toml",
        "type": "object",
        "properties": {LOOKUPS: lookups},
        "additionalProperties": entity,
        "propertyNames": {"pattern": f"^{NAME.pattern}$", "not": {"enum": reserved}},
    }


def named(schema: dict[str, Any]) -> dict[str, Any]:
    """Sections under names of the operator's own, at least one."""
    names = {"pattern": f"^{NAME.pattern}$", "not": {"enum": sorted(RESERVED)}}
    return {"type": "object", "additionalProperties": schema, "propertyNames": names, "minProperties": 1}


def section(model: type[Options], others: dict[str, Any] | None = None) -> dict[str, Any]:
    """The schema of a section; `others` is what stands in it under the names of systems."""
    schema: dict[str, Any] = {
        "type": "object",
        "description": summary(model),
        "properties": {info.alias or name: one_key(info) for name, info in model.model_fields.items()},
        "additionalProperties": others or False,
    }
    required = [info.alias or name for name, info in model.model_fields.items() if info.is_required()]
    return schema | ({"required": required} if required else {})


def one_key(info: FieldInfo) -> dict[str, Any]:
    form = form_of(info)
    described = {"description": words(info.description or "")}
    if form is None:
        return section(info.annotation) | described  # type: ignore[arg-type]  # a section in a section
    default = written_default(info)
    return {**form.schema, **described} | ({"default": default} if default is not None else {})


def form_of(info: FieldInfo) -> Form | None:
    """How the value of a key is written; None for a section."""
    return next((data for data in info.metadata if isinstance(data, Form)), None)


def written_default(info: FieldInfo) -> str | bool | int | None:
    """The default as a person would write it; None where leaving the key out means something that cannot be written."""
    default = None if info.is_required() else info.default
    if form_of(info) in (DURATION, WINDOW) and default is not None:
        return write_duration(default)
    if form_of(info) is SIZE and default is not None:
        return write_size(default)
    if isinstance(default, str | bool | int):
        return default
    return str(default) if hasattr(default, "as_posix") else None


def summary(model: type[Options]) -> str:
    return words(model.__doc__ or "")


def words(text: str) -> str:
    """A docstring on one line."""
    return " ".join(text.split())
