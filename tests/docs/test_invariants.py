"""Each invariant of this capability names the code that keeps it and tests that break without it."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT, quoted

PAGE = (ROOT / "docs" / "invariants.md").read_text(encoding="utf-8")
PARTS: dict[str, str] = dict(re.findall(r"^## I(\d+) .*\n((?:(?!## ).*\n)*)", PAGE, re.M))


def test_which_are_there() -> None:
    assert list(PARTS) == ["1", "2", "3", "4", "5", "6", "7", "8", "9", "12"]
    assert re.findall(r"^- \*\*I(\d+),", PAGE, re.M) == ["10", "11"]


@pytest.mark.parametrize("number", PARTS)
def test_each_names_code_and_tests(number: str) -> None:
    text = PARTS[number]
    code, _, tests = text.partition("\n- Tests:")
    assert [t for t in quoted(code.partition("\n- Code:")[2]) if "::" not in t]
    assert [t for t in quoted(tests) if t.startswith("tests/") and "::test_" in t]


def test_every_number_that_the_code_cites_is_explained() -> None:
    cited = set()
    for package in ("agent", "adapters", "state", "config"):
        for path in (ROOT / package).rglob("*.py"):
            cited.update(re.findall(r"\bI(\d{1,2})\b", path.read_text(encoding="utf-8")))
    assert cited <= {*PARTS, "10", "11"}
    assert len(cited) > 8
