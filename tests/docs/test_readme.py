"""The README's example works as it is written there, and what it shows is what a reader will see."""

from __future__ import annotations

import re
import sqlite3
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, prose
from tests.docs.walk import README, Shown, steady, walk

pytestmark = pytest.mark.xdist_group("readme")  # one walk serves all tests here

CODES = {"accord plan": 2}  # all others end with 0


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[Shown]]]:
    folder = tmp_path_factory.mktemp("reader")
    yield folder / "pilot", list(walk(folder))


def test_what_is_shown_is_what_is_printed(walked: tuple[Path, list[Shown]]) -> None:
    differing = {step.command: step.printed for step in walked[1] if not step.same}
    assert differing == {}, "run: python -m tests.docs.walk"


def test_every_command_of_the_path_is_taken_and_ends_well(walked: tuple[Path, list[Shown]]) -> None:
    steps = walked[1]
    assert {step.command.split()[1] for step in steps} == {"check", "prepare", "plan", "run", "verify", "explain"}
    assert {step.command: step.code for step in steps if step.code != CODES.get(step.command, 0)} == {}


def rows(file: Path, query: str) -> set[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return set(connection.execute(query))


def test_afterwards_both_databases_hold_the_same(walked: tuple[Path, list[Shown]]) -> None:
    folder = walked[0]
    crm = rows(folder / "crm.db", "SELECT name, email, phone, credit FROM accounts")
    erp = rows(folder / "erp.db", "SELECT title, mail, tel, credit_limit FROM party")
    assert crm == erp
    assert crm == {
        ("Acme GmbH", "sales@acme.example", "+49 30 1234", 6000),
        ("Bolt & Nut", "info@bolt.example", "+44 20 7000 200", 1000),
        ("Cedar Works", "hello@cedar.example", "+351 215", None),
        ("Dune Energy", "team@dune.example", "+34 91", 750),
    }


def test_a_difference_is_noticed() -> None:
    step = Shown("accord plan", "one\n…\n2026-11-24 09:13:58 three\n", "one\ntwo\n2026-11-25 10:00:00 three\n", 0)
    assert step.same
    assert not step._replace(printed="one\ntwo\n2026-11-25 10:00:00 four\n").same
    assert steady("3 rounds in 0 s.") == steady("3 rounds in 12 s.")


def test_every_package_that_is_used_is_named_with_its_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    used = {re.split(r"[^\w-]", text)[0] for text in project["dependencies"]}
    table = re.findall(r"^\| ([\w, -]+) \| [\w.-]+ \|$", prose(README.read_text(encoding="utf-8")), re.M)
    assert used <= {name for line in table for name in line.split(", ")}
