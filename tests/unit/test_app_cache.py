"""Installed applications are kept: built once, also when a build is killed half-way or two runs want it at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.apps import application

ROOT = Path(__file__).resolve().parents[2]

CHILD = """
    import sys, time
    from pathlib import Path
    from tests.apps import application

    def build(folder):
        (folder / "half").write_text("")
        print("building", flush=True)
        if sys.argv[2] == "hang":
            time.sleep(600)
        (folder / "whole").write_text("")

    application.CACHE = Path(sys.argv[1])
    print(application.kept("thing", ["1"], build), flush=True)
"""


def child(cache: Path, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(cache), how]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_build_that_was_killed_is_built_again(tmp_path: Path) -> None:
    with child(tmp_path, "hang") as killed:
        assert killed.stdout is not None and killed.stdout.readline() == "building\n"
        killed.send_signal(signal.SIGKILL)
    with child(tmp_path, "finish") as second:
        said, _ = second.communicate(timeout=60)
    folder = Path(said.splitlines()[-1])
    assert said.startswith("building") and (folder / "whole").exists()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [folder.name]


def test_two_at_once_build_once(tmp_path: Path) -> None:
    both = [child(tmp_path, "finish"), child(tmp_path, "finish")]
    said = "".join(one.communicate(timeout=60)[0] for one in both)
    assert said.count("building") == 1
    folders = [line for line in said.splitlines() if line != "building"]
    assert len(folders) == 2 and len(set(folders)) == 1


def test_another_version_is_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "CACHE", tmp_path)
    made: list[Path] = []
    first = application.kept("thing", ["1"], made.append)
    assert application.kept("thing", ["2"], made.append) != first
    assert application.kept("thing", ["1"], made.append) == first
    assert len(made) == 2


def test_a_build_that_fails_leaves_nothing_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "CACHE", tmp_path)

    def fails(folder: Path) -> None:
        raise application.ApplicationError("no network")

    with pytest.raises(application.ApplicationError):
        application.kept("thing", ["1"], fails)
    made: list[Path] = []
    application.kept("thing", ["1"], made.append)
    assert len(made) == 1
