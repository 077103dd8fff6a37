"""The decoder of MariaDB's log, against what a real server has sent (`binlog.json`, MariaDB 10.11).

Beside the events it holds what SELECT gave for the keys, in UTC.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.mysql.binlog import layout
from adapters.mysql.binlog.events import (
    METADATA,
    ROW_FORMAT,
    ROW_IMAGE,
    UNCOMPRESSED,
    Decoder,
    Ended,
    Event,
    Gap,
    Parent,
    Stopped,
    Target,
    Watched,
    statement,
)
from config.records import Column

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "binlog.json").read_text(encoding="utf-8"))
EVENTS = [bytes.fromhex(x) for x in zlib.decompress(base64.b85decode(RECORDED["events"])).decode().split()]
GTID, TABLE_MAP, WRITE, UPDATE, DELETE, XID, QUERY = 162, 19, 23, 24, 25, 16, 2


def column(native: str) -> Column:
    word = native.split("(")[0].split(" ")[0]
    kinds = {"date": "date", "datetime": "datetime", "timestamp": "datetime", "decimal": "decimal"}
    kind = kinds.get(word, "int" if word.endswith("int") or word == "year" else "text")
    return Column("id", "bytes" if "binary" in word else kind, native, padded=word == "char")


def targets(watched: frozenset[str] = frozenset({"name"})) -> dict[tuple[str, str], Target]:
    found = {
        ("p", name): Target(name, (column(t["native"]),), watched, {"id": t["charset"]} if t["charset"] else {})
        for name, t in RECORDED["tables"].items()
    }
    return found | {("p", "many"): Target("many", (column("int(11)"),), frozenset({"last"}), {})}


def read(
    events: list[bytes] | None = None,
    tables: Mapping[tuple[str, str], Target] | None = None,
    parents: Mapping[tuple[str, str], Parent] | None = None,
    lenient: tuple[int, int] = (0, 0),
) -> list[Event | Gap | Ended]:
    watched = Watched(targets() if tables is None else tables, parents or {}, ("p", "accord_fence"))
    decoder = Decoder(watched, RECORDED["state"], True, lenient)
    return [item for event in events or EVENTS for item in decoder.feed(event, 0)]


def rows(items: list[Event | Gap | Ended]) -> list[Event]:
    return [item for item in items if isinstance(item, Event)]


def sealed(event: bytes, type_: int | None = None, body: bytes | None = None) -> bytes:
    """The event with another kind or body, and the checksum that goes with it."""
    head = bytearray(event[:19])
    if type_ is not None:
        head[4] = type_
    whole = bytes(head) + (event[19:-4] if body is None else body)
    return whole + zlib.crc32(whole).to_bytes(4, "little")


def first(type_: int) -> int:
    return next(i for i, event in enumerate(EVENTS) if event[4] == type_)


def test_keys_of_all_types_are_what_a_select_shows() -> None:
    found = {(e.tag, e.key) for e in rows(read()) if e.tag != "many"}
    assert found == {(tag, key) for tag, key, _ in RECORDED["expected"]}


def test_every_type_beside_the_key_is_stepped_over() -> None:
    found = [(e.key, e.op, e.columns, e.was) for e in rows(read()) if e.tag == "many"]
    last = frozenset({"last"})
    assert found == [
        ("1", "I", None, None),
        ("2", "I", None, None),
        ("1", "U", last, None),  # the next one changes what is not mapped, and so does the one after it
        ("2", "D", None, None),
        ("3", "I", frozenset(), "2"),
        ("3", "D", None, None),
    ]


def test_columns_are_named_and_lie_where_the_server_says() -> None:
    maps = [layout.table_map(e[19:-4]) for e in EVENTS if e[4] == TABLE_MAP]
    many = next(m for m in maps if m.table == "many")
    assert [c.name for c in many.columns][:3] == ["id", "a", "b"]
    assert {c.name for c in many.columns if c.unsigned} == {"a", "v"}
    assert next(c for c in many.columns if c.name == "r").choices == (b"x", b"y")


def test_a_position_is_behind_a_transaction() -> None:
    items = read()
    ends = [i for i, item in enumerate(items) if isinstance(item, Ended)]
    before = [items[i - 1] for i in ends if i and isinstance(items[i - 1], Event)]
    assert before and all(isinstance(b, Event) for b in before)
    states = [item.state for item in items if isinstance(item, Ended)]
    numbers = [int(s.rpartition("-")[2]) for s in states]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_damaged_event_is_refused() -> None:
    event = bytearray(EVENTS[first(WRITE)])
    event[30] ^= 1
    with pytest.raises(OSError, match="checksum"):
        read([*EVENTS[: first(WRITE)], bytes(event)])


def test_ddl_is_a_gap_of_its_table_alone() -> None:
    gaps = [(item.tag, item.why.split(":")[1].split()[0]) for item in read() if isinstance(item, Gap)]
    assert {tag for tag, _ in gaps} == {tag for _, tag in targets()}
    assert {word for _, word in gaps} == {"DROP", "CREATE"}


def stops(events: list[bytes], hint: str) -> None:
    """Nothing is passed over before a person knows; then it is a gap, of the tables concerned."""
    with pytest.raises(Stopped) as stopped:
        read(events)
    assert stopped.value.hint == hint
    assert any(isinstance(item, Gap) for item in read(events, lenient=(1 << 30, 0)))


def test_compressed_events_stop_it() -> None:
    at = first(WRITE)
    stops([*EVENTS[:at], sealed(EVENTS[at], 166)], UNCOMPRESSED)


def test_an_event_of_an_unknown_kind_stops_it() -> None:
    at = first(WRITE)
    with pytest.raises(Stopped, match="unknown kind"):
        read([*EVENTS[:at], sealed(EVENTS[at], 39)])


def test_an_image_that_is_not_whole_stops_it() -> None:
    at = first(WRITE)
    body = bytearray(EVENTS[at][19:-4])
    head = layout.rows_head(bytes(body), False)
    assert head.present[0] == 0b111
    body[9] = 0b011  # without `name`, which is mapped
    stops([*EVENTS[:at], sealed(EVENTS[at], body=bytes(body))], ROW_IMAGE)


def test_names_that_are_hidden_stop_it() -> None:
    """As the server writes it without binlog_row_metadata = FULL: signs and character sets at most."""
    at = first(TABLE_MAP)
    body = EVENTS[at][19:-4]
    bare = body[: body.index(b"\x09before_it") - 2]
    whole = layout.table_map(bare)
    assert not any(c.name for c in whole.columns)
    stops([*EVENTS[:at], sealed(EVENTS[at], body=bare), EVENTS[at + 1]], METADATA)


def test_a_row_that_does_not_fit_its_description_stops_it() -> None:
    at = first(WRITE)
    with pytest.raises(Stopped, match="cannot be read"):
        read([*EVENTS[:at], sealed(EVENTS[at], body=EVENTS[at][19:-4][:-3])])


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("BEGIN", "none"),
        ("COMMIT", "end"),
        ("ROLLBACK TO `s`", "none"),
        ("ROLLBACK", "end"),
        ("XA COMMIT X'61',X'',1", "xa"),
        ("XA PREPARE X'61',X'',1", "none"),
        ("/* app */ UPDATE t SET a = 1", "rows"),
        ("/*!40000 ALTER TABLE t DISABLE KEYS */", "ddl"),
        ("-- a comment\nINSERT INTO t VALUES (1)", "rows"),
        ("TRUNCATE t", "ddl"),
        ("CREATE OR REPLACE DEFINER=`a`@`b` VIEW v AS SELECT 1", "none"),
        ("create trigger x before insert on t for each row set @a = 1", "none"),
        ("CREATE TABLE t (i INT)", "ddl"),
        ("GRANT SELECT ON t TO a", "none"),
        ("WITH x AS (SELECT 1) DELETE FROM t", "rows"),
        ("CALL p()", "rows"),
    ],
)
def test_what_a_statement_in_the_log_is(text: str, kind: str) -> None:
    assert statement(text) == kind


def query(text: str) -> list[bytes]:
    """A transaction of one statement, put in place of the first one with rows."""
    at = first(WRITE)
    begin = max(i for i in range(at) if EVENTS[i][4] == GTID)
    body = bytes(8) + b"\x01" + bytes(4) + b"p\0" + text.encode()
    return [*EVENTS[: begin + 1], sealed(EVENTS[at], QUERY, body)]


def test_a_statement_in_place_of_rows() -> None:
    stops(query("UPDATE k_int SET name = 'x'"), ROW_FORMAT)
    gaps = {item.tag for item in read(query("UPDATE a_view SET name = 'x'"), lenient=(0, 0)) if isinstance(item, Gap)}
    assert gaps == {tag for _, tag in targets()}


def test_only_tables_that_matter_are_read() -> None:
    assert not rows(read(tables={}))
    assert all(isinstance(item, Ended) for item in read(tables={}))


def test_a_change_of_a_parent_is_a_gap_of_those_that_follow_it() -> None:
    parent = {("p", "many"): Parent(frozenset({"w"}), ("child",), ("child",))}
    found = [item for item in read(tables={}, parents=parent) if isinstance(item, Gap) and "without a word" in item.why]
    # Three rows whose `w` changed, which is referred to, and a delete; neither inserts nor `last`.
    assert [gap.tag for gap in found] == ["child"] * 4
