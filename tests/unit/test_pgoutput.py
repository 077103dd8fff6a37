"""What `pgoutput` sends, as a PostgreSQL 15 server sent it: recorded bytes, and what was done to make it send them."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import pytest

from adapters.postgresql.logical.pgoutput import (
    UNCHANGED,
    Begin,
    Commit,
    Decoder,
    Layout,
    Message,
    Row,
    Truncate,
    Unreadable,
)
from config.records import Column

CODE = Column("code", "text", "text")
RELATION = (
    "52000040017075626c69630070617274006400030069640000000017ffffffff01636f64650000000019ffffffff"
    "00626f64790000000019ffffffff"
)
RENAMED = (
    "52000040017075626c69630070617274006400030069640000000017ffffffff016e756d6265720000000019ffffffff"
    "00626f64790000000019ffffffff"
)
WHOLE = (
    "52000040017075626c69630070617274006600030169640000000017ffffffff016e756d6265720000000019ffffffff"
    "01626f64790000000019ffffffff"
)


def read(*messages: str, layouts: dict[tuple[str, str], Layout] | None = None) -> list[Message | None]:
    decoder = Decoder(layouts or {("public", "part"): Layout("part", [CODE], ["id", "body"])})
    return [decoder.message(bytes.fromhex(text)) for text in messages]


def test_a_transaction_begins_and_ends() -> None:
    (begin, commit) = read(
        "420000000001927898000304049b17e1cb000002da", "4300000000000192789800000000019278c8000304049b17e1cb"
    )
    assert isinstance(begin, Begin) and begin.xid == 730
    assert datetime.fromtimestamp(begin.at / 1_000_000, UTC).date().isoformat() == "2026-11-24"
    assert commit == Commit(0x19278C8)


def test_rows_that_are_inserted() -> None:
    """INSERT INTO part VALUES (1, 'a', NULL), and one of another table, which does not take part."""
    _, row, _, other = read(
        RELATION,
        "49000040014e00037400000001317400000001616e",
        "52000040087075626c6963006f74686572006400010169640000000017ffffffff",
        "49000040084e0001740000000131",
    )
    assert row == Row("I", "part", "a", None, (b"1", None))
    assert other is None


def test_a_long_value_is_kept_as_a_number() -> None:
    _, row = read(RELATION, "49000040014e0003740000000132740000000162740000004678" + "78" * 69)
    assert isinstance(row, Row) and row.image == (b"2", hash(b"x" * 70))


def test_a_key_that_was_changed() -> None:
    """UPDATE part SET code = 'c' WHERE code = 'a'"""
    _, row = read(RELATION, "55000040014b00036e7400000001616e4e00037400000001317400000001636e")
    assert row == Row("U", "part", "c", "a", (b"1", None))


def test_a_large_value_that_stayed_as_it_was() -> None:
    """UPDATE part SET id = 3, beside 9,000 bytes of body."""
    _, row = read(RELATION, "55000040014e000374000000013374000000016275")
    assert row == Row("U", "part", "b", None, (b"3", UNCHANGED))


def test_a_large_key_that_stayed_as_it_was() -> None:
    """Then the identity is sent beside the row, in which the key is not."""
    _, row = read(RELATION, "55000040014b00036e7400000001626e4e0003740000000133756e")
    assert row == Row("U", "part", "b", None, (b"3", None))


def test_a_row_that_is_deleted() -> None:
    _, row = read(RELATION, "44000040014b00036e7400000001636e")
    assert row == Row("D", "part", "c", None, ())


def test_a_key_column_that_was_renamed() -> None:
    """The identity says which it is."""
    _, before, _, after = read(
        RELATION,
        "49000040014e00037400000001317400000001616e",
        RENAMED,
        "49000040014e0003740000000134740000000164740000000179",
    )
    assert isinstance(before, Row) and before.key == "a"
    assert after == Row("I", "part", "d", None, (b"4", b"y"))


def test_rows_that_are_sent_whole() -> None:
    """REPLICA IDENTITY FULL: UPDATE part SET number = 'e' WHERE number = 'd'"""
    layouts = {("public", "part"): Layout("part", [Column("number", "text", "text")], ["body"])}
    update = "55000040014f00037400000001347400000001647400000001794e0003740000000134740000000165740000000179"
    _, row = read(WHOLE, update, layouts=layouts)
    assert row == Row("U", "part", "e", "d", (b"y",))


def test_a_key_that_nobody_can_name() -> None:
    layouts = {("public", "part"): Layout("part", [Column("gone", "text", "text")], ["body"])}
    with pytest.raises(Unreadable, match="no column gone of part"):
        read(WHOLE, layouts=layouts)
    with pytest.raises(Unreadable, match="does not say which row of part"):
        read(RELATION, "44000040014b00036e6e6e")


def test_tables_that_are_emptied() -> None:
    """TRUNCATE part, other"""
    *_, message = read(RELATION, "5400000002000000400100004008")
    assert message == Truncate(("part",))


def test_a_table_whose_schema_was_not_known() -> None:
    _, row = read(RELATION, "44000040014b00036e7400000001636e", layouts={("", "part"): Layout("part", [CODE], [])})
    assert isinstance(row, Row) and row.tag == "part"


def test_what_is_of_no_interest() -> None:
    origin = b"O" + struct.pack(">Q", 1) + b"somebody\0"
    type_ = b"Y" + struct.pack(">I", 1) + b"public\0mood\0"
    message = b"M\x01" + struct.pack(">Q", 1) + b"accord\0" + struct.pack(">I", 0)
    assert read(origin.hex(), type_.hex(), message.hex()) == [None, None, None]


@pytest.mark.parametrize(
    ("column", "sent", "key"),
    [
        (Column("code", "bytes", "bytea"), "\\x0aff", "0aff"),
        (Column("code", "text", "character(5)", padded=True), "ab   ", "ab"),
        (Column("code", "bool", "boolean"), "t", "true"),
        (Column("code", "text", "inet"), "10.0.0.1", "10.0.0.1/32"),
        (Column("code", "text", "inet"), "10.0.0.0/8", "10.0.0.0/8"),
    ],
)
def test_a_key_is_spelled_as_a_cast_to_text_spells_it(column: Column, sent: str, key: str) -> None:
    layouts = {("public", "part"): Layout("part", [column], [])}
    text = sent.encode()
    data = bytes.fromhex("44000040014b00036e74") + struct.pack(">I", len(text)) + text + b"n"
    _, row = read(RELATION, data.hex(), layouts=layouts)
    assert isinstance(row, Row) and row.key == key
