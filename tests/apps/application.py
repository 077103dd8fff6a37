"""Real applications for the tests: installed once, kept open in one process, told what to do line by line.

An environment and an initialised data folder are made once and kept in `.cache/apps`, under a name that changes with
whatever they are made of. Making one may be interrupted at any time, and two runs may want the same one: it is built
under another name, behind a lock, and gets its own name when it is complete.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent.parent / ".cache" / "apps"


class ApplicationError(Exception):
    """An application cannot be installed, or refuses an action; in its own words."""


def kept(name: str, made_of: Sequence[str | Path], build: Callable[[Path], None]) -> Path:
    """The folder that `build` makes, from the cache if it is there. `made_of`: files and texts that it follows from."""
    parts = [part.read_bytes() if isinstance(part, Path) else part.encode() for part in made_of]
    key = hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:12]
    folder = CACHE / f"{name}-{key}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            for left in CACHE.glob(f"{name}.building-*"):  # of a run that was interrupted
                shutil.rmtree(left, ignore_errors=True)
            building = Path(tempfile.mkdtemp(prefix=f"{name}.building-", dir=CACHE))
            build(building)
            building.rename(folder)
    return folder


def environment(name: str, requirements: Path, unpinned: Sequence[str] = ()) -> Path:
    """The Python of an environment with these requirements, and with `unpinned` installed without what they ask for."""

    def build(folder: Path) -> None:
        run([sys.executable, "-m", "venv", folder])
        pip: list[str | Path] = [
            folder / "bin" / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        run([*pip, "-r", requirements])
        if unpinned:
            run([*pip, "--no-deps", *unpinned])

    folder = kept(f"{name}-environment", [requirements, *unpinned, sys.version], build)
    return folder / "bin" / "python"


def run(command: Sequence[str | Path], **environ: str) -> str:
    """Run to the end; what it printed."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=os.environ | environ, cwd=HERE
    )
    if done.returncode:
        words = " ".join(str(part) for part in command)
        raise ApplicationError(f"{words} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


class Application:
    """An application that is kept open; `act` is one action of one user, in a transaction of its own."""

    def __init__(self, command: Sequence[str | Path], **environ: str) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed by `close`)
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=os.environ | environ,
            cwd=HERE,
        )
        self._answer()

    def act(self, action: str, **args: Any) -> Any:
        """Returns when the application has committed. `ApplicationError` = it refused."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"action": action, "args": args}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends with its input; may be called twice."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise ApplicationError(f"the application has ended:\n{self._log.read()[-4000:]}")
        answer: Mapping[str, Any] = json.loads(line)
        if "error" in answer:
            raise ApplicationError(answer["error"])
        return answer["ok"]
