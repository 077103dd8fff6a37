"""Whatever the pages about the code name in backticks exists: files, functions, words of the configuration, tests."""

from __future__ import annotations

import re

import pytest

from agent import crash
from tests.docs.pages import ROOT, cases_of, names, quoted, section

ABOUT_CODE = ("design.md", "invariants.md", "adding-an-adapter.md")
NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)?(\(\))?")
FILE = re.compile(r"[\w./-]+/|[\w./-]+\.(py|sql|toml|md|sh|db)")
TEST = re.compile(r"(tests/[\w/]+\.py)::(test_\w+)")


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def missing(token: str) -> str | None:
    """Why a quoted token is wrong; None: it is right, or it is no name (an example, a piece of SQL …)."""
    if "::" in token:
        found = TEST.fullmatch(token)
        return None if found and found[2] in cases_of(found[1]) else "no such test"
    if FILE.fullmatch(token):
        there = (ROOT / token).exists() or ("/" not in token and any(ROOT.rglob(f"[!.]*/**/{token}")))
        return None if there or token.endswith(".db") else "no such file"
    if not NAME.fullmatch(token):
        return None
    token = token.removesuffix("()")
    known = names()
    if token in known.words or token in known.members:
        return None
    if token.startswith("accord_") and any(token.removeprefix("accord") in piece for piece in known.pieces):
        return None
    return "no such name in the code"


@pytest.mark.parametrize("page", ABOUT_CODE)
def test_what_a_page_names_exists(page: str) -> None:
    tokens = quoted(text_of(page))
    wrong = {token: why for token in tokens if (why := missing(token))}
    assert wrong == {}
    assert sum(bool(NAME.fullmatch(t) or FILE.fullmatch(t)) for t in tokens) > 30


@pytest.mark.parametrize(
    "token",
    ["Round.no_such_step", "no_such_word", "agent/no_such_file.py", "tests/model/test_order.py::test_nothing"],
)
def test_what_does_not_exist_is_noticed(token: str) -> None:
    assert missing(token)


def test_the_design_lists_every_crash_point() -> None:
    table = section(text_of("design.md"), "Where it can be killed")
    listed = [point.removesuffix(":SYSTEM") for point in re.findall(r"^\| `([\w:]+)` \|", table, re.M)]
    assert listed == list(crash.POINTS)
