"""Keys: one text for a row, whoever spells it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.convert import MYSQL, POSTGRESQL, SQLITE
from adapters.keys import key_of, newest, normal, pack, params, unpack
from config.records import Column

INT = Column("a", "int", "int")
TEXT = Column("b", "text", "text")
BYTES = Column("c", "bytes", "blob")


def test_one_column_is_its_text() -> None:
    assert key_of((INT,), (7,), SQLITE) == "7"
    assert key_of((TEXT,), ("a,b",), SQLITE) == "a,b"
    assert unpack('["x"]', 1) == ('["x"]',)


def test_several_columns_are_a_compact_array() -> None:
    assert key_of((INT, TEXT), (12, 'ü"3'), SQLITE) == '["12","ü\\"3"]'
    assert unpack('["12","ü\\"3"]', 2) == ("12", 'ü"3')


@pytest.mark.parametrize("key", ["12", '["1"]', '["1","2","3"]', '{"a":1}', '["1",null]', ""])
def test_what_is_no_key_of_two_columns(key: str) -> None:
    with pytest.raises(ValueError, match="not a key of 2 columns"):
        unpack(key, 2)


def test_what_a_trigger_wrote_is_made_alike() -> None:
    assert normal((INT,), "7.0", SQLITE) == normal((INT,), "07", SQLITE) == "7"
    assert normal((INT, TEXT), '[ "12", "\\u00fc" ]', SQLITE) == '["12","ü"]'
    assert normal((INT, TEXT), '[12, "x"]', POSTGRESQL) == '["12","x"]'
    assert normal((BYTES,), "00FF", MYSQL) == normal((BYTES,), "\\x00ff", POSTGRESQL) == "00ff"


def test_parameters() -> None:
    assert params((INT, TEXT), '["12","x"]', SQLITE) == (12, "x")
    assert params((INT,), "12", POSTGRESQL) == ("12",)
    assert params((BYTES,), "00ff", MYSQL) == (b"\x00\xff",)
    assert params((BYTES,), "00ff", POSTGRESQL) == ("\\x00ff",)
    with pytest.raises(ValueError, match="a holds whole numbers"):
        params((INT,), "abc", SQLITE)


@pytest.mark.parametrize(
    ("moves", "found"),
    [
        ([], {}),
        ([("1", "2")], {"1": "2"}),
        ([("1", "2"), ("2", "3")], {"1": "3"}),
        ([("1", "2"), ("2", "1")], {}),
        ([("1", "2"), ("5", "1"), ("1", "6")], {"1": "2"}),  # another row came to 1 and went on
        ([("5", "1"), ("1", "6")], {"1": "6"}),  # who asks for 1 may have seen it arrive
        ([("7", "8")], {}),
    ],
)
def test_where_a_key_went(moves: list[tuple[str, str]], found: dict[str, str]) -> None:
    assert newest(moves, ["1", "9"]) == found


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_keys_come_apart_as_they_were_put_together(texts: list[str]) -> None:
    assert unpack(pack(texts), len(texts)) == tuple(texts)
