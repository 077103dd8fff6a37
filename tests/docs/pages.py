"""The pages of this project, and the code that they speak of, as the tests of the documentation read them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PACKAGES = ("agent", "adapters", "state", "config")


class Block(NamedTuple):
    """A fenced block: the word behind the fence, and the lines."""

    kind: str
    text: str


def blocks(text: str) -> list[Block]:
    return [Block(kind, body) for kind, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)]


def prose(text: str) -> str:
    """The page without its fenced and indented blocks."""
    text = re.sub(r"^```\w*\n.*?^```$", "", text, flags=re.M | re.S)
    return re.sub(r"(?<=\n\n)(?:    .*\n)+", "\n", text)


def quoted(text: str) -> list[str]:
    """What stands in backticks in the prose."""
    return re.findall(r"`([^`\n]+)`", prose(text))


def section(text: str, title: str) -> str:
    """The part of a page below a heading, up to the next one of its level or above."""
    found = re.search(rf"^(#+) {re.escape(title)}$", text, re.M)
    assert found, title
    lines: list[str] = []
    fenced = False
    for line in text[found.end() + 1 :].splitlines():
        fenced ^= line.startswith("```")  # a comment in a block is no heading
        if not fenced and re.match(rf"#{{1,{len(found[1])}}} ", line):
            break
        lines.append(line)
    return "\n".join(lines) + "\n"


def anchor(heading: str) -> str:
    """The name of a heading in a link."""
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "")).strip().lower()
    return kept.replace(" ", "-")


# --- the code --------------------------------------------------------------------------------------------------------


class Names(NamedTuple):
    """Everything that the code calls by a name, and all texts in it."""

    words: frozenset[str]  # any name that is defined, and any text constant
    members: frozenset[str]  # `Class.member`, `module.symbol`
    pieces: tuple[str, ...]  # parts of formatted texts: what follows a prefix


@cache
def names() -> Names:
    words: set[str] = set()
    members: set[str] = set()
    pieces: set[str] = set()
    for path in sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        members.update(f"{path.stem}.{name}" for name in defined(tree.body))
        words.update((path.stem, path.parent.name))
        for node in ast.walk(tree):
            words.update(defined([node]))
            if isinstance(node, ast.ClassDef):
                members.update(f"{node.name}.{name}" for name in class_members(node))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.add(node.value)
                pieces.add(node.value)
    return Names(frozenset(words), frozenset(members), tuple(pieces))


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (ROOT / package).rglob("*.py")


def defined(nodes: list[ast.stmt] | list[ast.AST]) -> Iterator[str]:
    """Names that these nodes themselves define."""
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)


def class_members(node: ast.ClassDef) -> Iterator[str]:
    yield from defined(node.body)
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
            yield inner.attr


@cache
def cases_of(path: str) -> frozenset[str]:
    """Names of the test functions of one file; empty where there is no such file."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(n.name for n in tree.body if isinstance(n, ast.FunctionDef) and n.name.startswith("test_"))
