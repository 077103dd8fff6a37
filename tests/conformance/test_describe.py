"""`describe` and `tables`: the database's own schema, in Accord's words."""

from __future__ import annotations

import pytest

from config.errors import Halt
from tests.conformance.backend import Backend, Database
from tests.conformance.world import World

KINDS = {
    "int": "int",
    "bigint": "int",
    "text": "text",
    "text20": "text",
    "char10": "text",
    "long": "text",
    "decimal": "decimal",
    "double": "float",
    "real": "float",
    "bool": "bool",
    "date": "date",
    "datetime": "datetime",
    "seconds": "datetime",
    "zoned": "datetime",
    "time": "time",
    "bytes": "bytes",
    "json": "text",
    "uuid": "text",
}


@pytest.fixture
def world(backend: Backend, db: Database) -> World:
    return World(backend, db)


def test_kinds_of_columns(world: World) -> None:
    world.create("all_types", {"id": "auto", **{f"c_{word}": word for word in KINDS}})
    info = world.system.describe("all_types", None)
    assert info is not None
    assert {word: info.columns[f"c_{word}"].kind for word in KINDS} == KINDS
    assert info.columns["c_text20"].length == 20
    assert (info.columns["c_decimal"].precision, info.columns["c_decimal"].scale) == (12, 2)
    assert info.columns["c_char10"].padded
    assert info.columns["c_datetime"].fraction == 6
    assert info.columns["c_seconds"].fraction == 0
    assert info.columns["c_time"].fraction == 6
    assert info.columns["c_zoned"].fraction == 6
    assert info.columns["c_zoned"].zoned is (world.backend.types["zoned"] != world.backend.types["datetime"])
    assert not info.columns["c_datetime"].zoned


def test_null_defaults_and_generated_keys(world: World) -> None:
    world.create("t", {"id": "auto", "a": "text NOT NULL", "b": "int DEFAULT 7", "c": "int"})
    info = world.system.describe("t", None)
    assert info is not None
    assert [info.columns[n].nullable for n in ("id", "a", "b", "c")] == [False, False, True, True]
    assert [info.columns[n].has_default for n in ("id", "a", "b", "c")] == [True, False, True, False]


def test_keys_and_references(world: World) -> None:
    world.create("parent", {"id": "auto", "code": "text20", "a": "int", "b": "int"}, "UNIQUE (code)", "UNIQUE (a, b)")
    world.create(
        "child",
        {"x": "int NOT NULL", "y": "text20 NOT NULL", "parent": "int"},
        "PRIMARY KEY (x, y)",
        "FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE",
    )
    parent, child = world.system.describe("parent", None), world.system.describe("child", None)
    assert parent is not None and child is not None
    assert parent.primary_key == ("id",) and child.primary_key == ("x", "y")
    assert set(parent.unique) == {("code",), ("a", "b")}
    (out,), (into,) = child.foreign_keys, parent.referenced_by
    assert (out.columns, out.to_table, out.to_columns, out.on_delete) == (("parent",), "parent", ("id",), "cascade")
    assert (into.table, into.columns, into.on_delete) == ("child", ("parent",), "cascade")
    assert child.referenced_by == ()


def test_a_table_that_is_not_there(world: World) -> None:
    world.create("customer", {"id": "auto"})
    assert world.system.describe("custommer", None) is None
    assert world.system.tables(None) == ["customer"]


def test_a_column_of_an_unknown_type_is_named_when_it_is_used(world: World) -> None:
    world.create("t", {"id": "auto", "name": "text", "shape": "unknown"})
    info = world.system.describe("t", None)
    assert info is not None and info.columns["shape"].kind == ""
    world.bind({"fine": ("t", {"name": "name"}, {})})
    with pytest.raises(Halt, match=r"t\.shape"):
        world.bind({"t": ("t", {"shape": "shape:text"}, {})})


def test_reserved_words_and_mixed_case(world: World) -> None:
    world.create("order", {"id": "auto", "Select": "text", "Übung": "text", "group": "int"})
    info = world.system.describe("order", None)
    assert info is not None
    assert list(info.columns) == ["id", "Select", "Übung", "group"]


def test_a_schema_other_than_the_default(world: World) -> None:
    schema = world.backend.schema
    if schema is None:
        assert world.system.describe("t", "elsewhere") is None
        return
    world.create("t", {"id": "auto", "name": "text"}, schema=schema)
    world.create("t", {"id": "auto", "title": "text"})
    there, here = world.system.describe("t", schema), world.system.describe("t", None)
    assert there is not None and here is not None
    assert list(there.columns) == ["id", "name"] and list(here.columns) == ["id", "title"]
    assert world.system.tables(schema) == ["t"]
