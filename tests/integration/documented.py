"""`docs/commands.md`, read by the tests that hold it to its word."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")


def section(command: str) -> str:
    found = re.search(rf"^## accord {command}$(.*?)(?=^## |\Z)", DOCS, re.M | re.S)
    assert found, f"docs/commands.md says nothing of accord {command}"
    return found[1]


def examples(command: str) -> list[Any]:
    """The JSON that is shown for a command."""
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", section(command), re.S)]


def differs(shown: Any, actual: Any, at: str = "data") -> str:
    """Where the form is another than the one shown; empty where it is the same. What is empty fits every form."""
    if isinstance(shown, dict) and isinstance(actual, dict):
        if actual and shown.keys() != actual.keys():
            return f"{at}: {sorted(actual)}, shown are {sorted(shown)}"
        return next((d for key in actual if (d := differs(shown[key], actual[key], f"{at}.{key}"))), "")
    if isinstance(shown, list) and isinstance(actual, list):
        return next((d for item in actual if (d := differs(shown[0], item, f"{at}[]"))), "")
    if shown is None or actual is None or type(shown) is type(actual):
        time = "2026-11-24T" in str(shown) and not isinstance(shown, dict)
        good = not time or actual is None or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", actual)
        return "" if good else f"{at}: {actual!r} is no time as shown"
    return f"{at}: {actual!r}, shown is {shown!r}"
