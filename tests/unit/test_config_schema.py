"""The schemas for editors against the examples and against the loader, and the reference against the model."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from config.draft import RESERVED, keys
from config.load import load
from config.model import (
    AgentOptions,
    DefaultOptions,
    EntityOptions,
    FieldOptions,
    LookupOptions,
    Options,
    ReferenceOptions,
    SystemOptions,
    TableOptions,
)
from config.reference import filled
from config.schema import accord_schema, entity_schema

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "config" / "examples"
ENTITIES = sorted((EXAMPLES / "entities").glob("*.toml"))


def read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


def errors(schema: dict[str, Any], content: object) -> list[str]:
    return [error.message for error in Draft202012Validator(schema).iter_errors(content)]


def tables(content: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all sections, the inline ones included."""
    yield path
    for key, value in content.items():
        if isinstance(value, dict):
            yield from tables(value, (*path, key))


def at(content: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for key in path:
        content = content[key]
    return content


def test_the_schemas_are_schemas() -> None:
    Draft202012Validator.check_schema(accord_schema())
    Draft202012Validator.check_schema(entity_schema())


def test_the_examples_are_valid() -> None:
    assert load(EXAMPLES, {}).entities.keys() == {"customer", "order", "order_line"}
    assert errors(accord_schema(), read(EXAMPLES / "accord.toml")) == []
    assert [errors(entity_schema(), read(path)) for path in ENTITIES] == [[]] * len(ENTITIES)


def test_the_examples_use_every_key() -> None:
    agent, files = read(EXAMPLES / "accord.toml"), [read(path) for path in ENTITIES]
    lookups = [lookup for file in files for lookup in file.pop("lookups", {}).values()]
    entities = [e for file in files for e in file.values()]
    systems = list(agent["systems"].values())
    fields = [field for e in entities for field in e["fields"].values()]
    tables = [value for e in entities for key, value in e.items() if key in agent["systems"]]
    used: list[tuple[type[Options], list[dict[str, Any]]]] = [
        (AgentOptions, [agent["agent"]]),
        (SystemOptions, systems),
        (DefaultOptions, [s["defaults"] for s in systems if "defaults" in s]),
        (EntityOptions, entities),
        (TableOptions, tables),
        (FieldOptions, fields),
        (LookupOptions, lookups),
        (ReferenceOptions, [v for lookup in lookups for key, v in lookup.items() if key in agent["systems"]]),
    ]
    for model, sections in used:
        unused = keys(model).keys() - {key for section in sections for key in section}
        # What a system's defaults say need not be said again in a table.
        assert unused - ({"new_key"} if model is TableOptions else set()) == set(), model.__name__


# Columns and systems are the operator's own: whether there is one called like that, only the loader and check know.
FREE = ("insert", "stamp", "archive", "restore", "delete", "create")


def test_an_unknown_key_in_any_section_is_refused() -> None:
    content = read(EXAMPLES / "accord.toml")
    for path in tables(content):
        if path and path[-1] in FREE:
            continue
        spoilt = copy.deepcopy(content)
        at(spoilt, path)["no_such_key"] = "x"
        assert errors(accord_schema(), spoilt), path


def test_an_unknown_key_in_an_entity_is_refused() -> None:
    content = read(EXAMPLES / "entities" / "customer.toml")
    for path in (("customer",), ("customer", "crm"), ("customer", "fields"), ("customer", "fields", "notes", "erp")):
        spoilt = copy.deepcopy(content)
        at(spoilt, path)["no_such_key"] = "x"
        assert errors(entity_schema(), spoilt), path


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("agent", "poll"), "soon"),
        (("agent", "batch"), 0),
        (("agent", "name"), None),
        (("systems", "crm", "url"), "oracle:x"),
        (("systems", "crm", "password"), "hunter2"),
        (("systems", "crm", "capture"), "guess"),
        (("systems", "crm", "write"), "yes"),
        (("systems", "owner"), {"url": "sqlite:x.db"}),
    ],
)
def test_a_wrong_value_is_refused(path: tuple[str, ...], value: object) -> None:
    content = read(EXAMPLES / "accord.toml")
    if value is None:
        del at(content, path[:-1])[path[-1]]
    else:
        at(content, path[:-1])[path[-1]] = value
    assert errors(accord_schema(), content)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("customer", "match"), ["vat_id"]),
        (("customer", "delete"), {"crm": "shred"}),
        (("customer", "conflict"), "newest"),
        (("customer", "create"), {"erp": 5}),
        (("customer", "crm", "table"), 5),
        (("customer", "crm", "archive"), {"deleted": [1]}),
        (("customer", "fields", "type"), {"crm": "a"}),
        (("customer", "fields", "credit", "type"), "money"),
        (("agent",), {"fields": {"a": {"crm": "a"}}}),
    ],
)
def test_a_wrong_value_in_an_entity_is_refused(path: tuple[str, ...], value: object) -> None:
    content = read(EXAMPLES / "entities" / "customer.toml")
    at(content, path[:-1])[path[-1]] = value
    assert errors(entity_schema(), content)


def test_the_reference_is_that_of_the_model() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert filled(page) == page, "run: python -m config.reference"


def test_the_page_names_every_word_that_is_kept_for_later() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert [word for word in sorted(RESERVED - {"column", "fields"}) if f"`{word}`" not in page] == []
