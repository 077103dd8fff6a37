"""Links between the pages lead somewhere, and commands that the pages name can be run."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from agent.cli import accord, names
from tests.docs.pages import PAGES, ROOT, anchor, blocks, prose

LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"\baccord ([a-z]+)\b((?: (?:--?[a-z-]+|[A-Z]+|\w+:\w+|[a-z]+))*)")


def ids(pages: list[Path]) -> list[str]:
    return [page.name for page in pages]


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    dead = []
    for link in LINK.findall(text):
        if re.match(r"https?://", link):
            continue
        target, _, fragment = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.M) if file.suffix == ".md" else []
        if not file.exists() or (fragment and fragment not in map(anchor, headings)):
            dead.append(link)
    assert dead == []


def spoken(text: str) -> list[str]:
    """What a page says as code: in backticks, indented, or in a fenced block of a shell."""
    inline = re.findall(r"`([^`\n]+)`", prose(text))
    indented = re.findall(r"^    (.*)$", text, re.M)
    return [*inline, *indented, *(b.text for b in blocks(text) if b.kind in ("", "sh", "console"))]


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_commands_exist_with_the_options_that_are_shown(page: Path) -> None:
    wrong = []
    with click.Context(accord) as context:
        for code in spoken(page.read_text(encoding="utf-8")):
            for name, rest in COMMAND.findall(code):
                command = accord.get_command(context, name) if name in names() else None
                if command is None:
                    wrong.append(f"accord {name}")
                    continue
                wrong += [
                    f"accord {name} {word}" for word in re.findall(r"--[a-z-]+", rest) if word not in flags(command)
                ]
    assert wrong == []


def flags(command: click.Command) -> set[str]:
    """The options of a command, and of the commands below it."""
    found = {option for parameter in command.params for option in parameter.opts}
    if isinstance(command, click.Group):
        with click.Context(command) as context:
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                found |= flags(inner) if inner is not None else set()
    return found


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = {
        word for page in PAGES for code in spoken(page.read_text()) for word in re.findall(r"\bmake ([a-z]+)", code)
    }
    assert {"demo", "test", "quick"} <= named <= targets
