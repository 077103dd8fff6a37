"""Walks through the README's example as a reader would: its files are written, its commands are run in a shell.

`python -m tests.docs.walk` writes what the commands really print into the README; the test compares it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.docs.pages import ROOT, blocks, section

README = ROOT / "README.md"
TITLE = "A first mapping of your own, in ten minutes"
LEFT_OUT = "…"  # a line of its own: lines that differ from machine to machine, or that were shown before


class Shown(NamedTuple):
    """One command of the example: what the page shows, what it really prints, and its exit code."""

    command: str
    shown: str
    printed: str
    code: int

    @property
    def same(self) -> bool:
        lines = [
            r"(?:.*\n)*" if line == LEFT_OUT else re.escape(steady(line)) + r"\n" for line in self.shown.splitlines()
        ]
        return re.fullmatch("".join(lines), steady(self.printed)) is not None


def steady(text: str) -> str:
    """Without what is another at each time: moments, identities, how long it took."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "YYYY-MM-DD hh:mm:ss", text)
    text = re.sub(r"\b[0-9a-f]{32}\b", "GID", text)
    return re.sub(r"\bin \d+ s\b", "in N s", text)


def walk(folder: Path) -> Iterator[Shown]:
    """Every step of the section in its order; `folder` is where the reader stands."""
    for block in blocks(section(README.read_text(encoding="utf-8"), TITLE)):
        if block.kind == "toml":
            name = block.text.splitlines()[0].removeprefix("# ")
            (folder / name).write_text(block.text, encoding="utf-8")
        elif block.kind == "sh":
            folder = Path(shell(f"set -e\n{block.text}\npwd", folder).stdout.splitlines()[-1])
        elif block.kind == "console":
            for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.M):
                done = shell(command, folder)
                yield Shown(command, shown, done.stdout, done.returncode)


def shell(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "COLUMNS": "120"}
    environ.pop("ACCORD_CONFIG", None)
    done = subprocess.run(["bash", "-c", text], cwd=folder, env=environ, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def main() -> None:
    """Write what is printed now where the page shows something else."""
    text = README.read_text(encoding="utf-8")
    at = text.index(TITLE)
    with tempfile.TemporaryDirectory() as folder:
        for step in walk(Path(folder)):
            at = text.index(f"$ {step.command}\n", at) + len(step.command) + 3
            if not step.same:
                text = text[:at] + step.printed + text[at + len(step.shown) :]
                at += len(step.printed)
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
