"""Lines of keys, against a reading of the same text that knows nothing of tree-sitter."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from config.lines import Source, key_lines

TEXT = """# a comment
[customer]
match = [
  ["vat_id"],
  # not a rule
  ["email"],
]

[customer.crm]
table = "accounts"
archive = { deleted = 1, "odd key" = 2 }
'literal' = \"\"\"
[not.a.section]
x = 1
\"\"\"
a . "b.c" = 1

[ customer . fields ]
name = { crm = "n", erp = { column = "m" } }

["quo\\u0074ed"]
größe = "never: bare keys are ASCII"
"""


def test_every_kind_of_key_is_found() -> None:
    text = TEXT.replace("größe", '"größe"')
    tomllib.loads(text)
    lines = key_lines(text)
    found = {path: line for path, line in lines.items() if path[0] == "customer"}
    assert found == {
        ("customer",): 2,
        ("customer", "match"): 3,
        ("customer", "match", "0"): 4,
        ("customer", "match", "0", "0"): 4,
        ("customer", "match", "1"): 6,
        ("customer", "match", "1", "0"): 6,
        ("customer", "crm"): 9,
        ("customer", "crm", "table"): 10,
        ("customer", "crm", "archive"): 11,
        ("customer", "crm", "archive", "deleted"): 11,
        ("customer", "crm", "archive", "odd key"): 11,
        ("customer", "crm", "literal"): 12,
        ("customer", "crm", "a"): 16,
        ("customer", "crm", "a", "b.c"): 16,
        ("customer", "fields"): 18,
        ("customer", "fields", "name"): 19,
        ("customer", "fields", "name", "crm"): 19,
        ("customer", "fields", "name", "erp"): 19,
        ("customer", "fields", "name", "erp", "column"): 19,
    }
    assert lines["quoted", "größe"] == 22


def test_a_key_that_is_not_written_stands_at_the_section_above_it() -> None:
    source = Source("x.toml", key_lines(TEXT.replace("größe", "g")))
    assert source.line(("customer", "crm", "modified", "deep")) == 9
    assert source.line(("nothing",)) is None


keys = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=3)
files = st.dictionaries(keys, st.dictionaries(keys, st.integers() | st.dictionaries(keys, st.integers(), max_size=3)))


@given(files, st.data())
@settings(max_examples=60)
def test_every_key_that_tomllib_reads_has_its_line(content: dict[str, dict[str, Any]], data: st.DataObject) -> None:
    expected: dict[tuple[str, ...], int] = {}
    written: list[str] = []
    for section, keys in content.items():
        written += ["# [x]"] * data.draw(st.integers(0, 2)) + [f"[{section}]"]
        expected[section,] = len(written)
        for key, value in keys.items():
            if isinstance(value, dict):
                inner = ", ".join(f"{name} = {number}" for name, number in value.items())
                written.append(f'"{key}" = {{ {inner} }} # [y]')
                expected |= {(section, key, name): len(written) for name in value}
            else:
                written.append(f"{key} = {value}")
            expected[section, key] = len(written)
    text = "\n".join(written)
    assert tomllib.loads(text) == content
    assert key_lines(text) == expected
