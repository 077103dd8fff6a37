"""On which line of a TOML file each key stands.

`tomllib` keeps no positions, so tree-sitter reads the file a second time. Only files that `tomllib` has accepted come
here: values are never taken from this reading.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache

import tree_sitter_toml
from tree_sitter import Language, Node, Parser

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was read: the name under which messages show it, and the lines of its keys (the first is 1)."""

    name: str
    lines: dict[Path, int]

    def line(self, path: Path) -> int | None:
        """The line of this key, or of the nearest section above it; None where nothing of it is written."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


@cache
def parser() -> Parser:
    return Parser(Language(tree_sitter_toml.language()))


def key_lines(text: str) -> dict[Path, int]:
    """Path of each key -> its line. Items of a list have their number as the last part of the path."""
    lines: dict[Path, int] = {}
    for node in parser().parse(text.encode()).root_node.named_children:
        if node.type in ("table", "table_array_element"):
            head, *rest = node.named_children
            section = mark(lines, (), head)
            for child in rest:
                visit(lines, section, child)
        else:
            visit(lines, (), node)
    return lines


def visit(lines: dict[Path, int], above: Path, node: Node) -> None:
    if node.type == "pair":
        key, *value = node.named_children
        path = mark(lines, above, key)
        for child in value:
            visit(lines, path, child)
    elif node.type == "inline_table":
        for child in node.named_children:
            visit(lines, above, child)
    elif node.type == "array":
        for number, child in enumerate(c for c in node.named_children if c.type != "comment"):
            lines.setdefault((*above, str(number)), child.start_point.row + 1)
            visit(lines, (*above, str(number)), child)


def mark(lines: dict[Path, int], above: Path, key: Node) -> Path:
    """Note the line of a key, and of the sections that a dotted key makes on its way."""
    path = above
    for part in parts(key):
        path = (*path, part)
        lines.setdefault(path, key.start_point.row + 1)
    return path


def parts(key: Node) -> Path:
    """A dotted key nests: a.b.c is ((a . b) . c)."""
    if key.type == "dotted_key":
        return tuple(part for child in key.named_children for part in parts(child))
    text = (key.text or b"").decode()
    if key.type != "quoted_key":
        return (text,)
    return tuple(tomllib.loads(f"{text} = 0"))
