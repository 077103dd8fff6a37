"""Watermark capture in a real agent: edits by their stamp, and what a stamp does not show by a sweep at the start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.pair import Pair


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path) as pair:
        pair.crm("ALTER TABLE accounts ADD COLUMN stamp TEXT; UPDATE accounts SET stamp = '2026-01-01 00:00:00'")
        pair.edit(
            "entities/customer.toml", 'new_key = "uuid"', 'new_key = "uuid"\nmodified = "stamp"\ncapture = "watermark"'
        )
        pair.edit("entities/customer.toml", "[customer.erp]", 'stamp = { stamp = "sql:datetime()" }\n\n[customer.erp]')
        pair.accord("prepare", exits=0)
        pair.accord("run", "--once", exits=0)
        yield pair


def test_an_edit_is_seen_by_its_stamp(pair: Pair) -> None:
    """An update with a new stamp, and a new row."""
    pair.crm("UPDATE accounts SET phone = '77', stamp = datetime('now', '+1 second') WHERE id = 'a1'")
    pair.crm("INSERT INTO accounts VALUES ('a9', 'New', 'i@new', '9', NULL, datetime('now', '+1 second'))")
    pair.accord("run", "--once", exits=0)
    assert pair.erp("SELECT tel FROM party WHERE mail = 'i@acme'") == [("77",)]
    assert pair.erp("SELECT pname FROM party WHERE mail = 'i@new'") == [("New",)]


def test_what_no_stamp_shows_is_found_at_the_next_start(pair: Pair) -> None:
    """A delete, and an update that left the stamp alone: the sweep at the start of the agent finds both."""
    pair.crm("DELETE FROM accounts WHERE id = 'a2'; UPDATE accounts SET phone = '88' WHERE id = 'a1'")
    pair.accord("run", "--once", exits=0)
    assert pair.erp("SELECT count(*) FROM party WHERE mail = 'i@bolt'") == [(0,)]
    assert pair.erp("SELECT tel FROM party WHERE mail = 'i@acme'") == [("88",)]
    before = pair.dump()
    pair.accord("run", "--once", exits=0)
    changed = [line for line in set(before) ^ set(pair.dump()) if "accord_fence" not in line]
    assert changed == []
