"""The lock on a state file: one agent writes (I9, on this machine)."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from config.errors import Problem, Taken
from state.database import folder_error


class StateLock:
    """An exclusive lock on `PATH.lock`, held until `release` or until the process ends, however it ends.

    `Taken` says which process holds it; `ConfigError` that the folder cannot be written. The file stays: removing it
    would let two agents hold two files of one name.
    """

    def __init__(self, path: str | Path, name: str = "") -> None:
        self.path = Path(f"{path}.lock")
        try:
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise folder_error(Path(path), error) from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._handle, 1000, 0).decode(errors="replace").split(" ", 1)
            os.close(self._handle)
            self._handle = -1
            raise Taken(_problem(path, *holder)) from error
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, f"{os.getpid()} {name}".encode(), 0)

    def release(self) -> None:
        """Let go. May be called twice."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> StateLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _problem(path: str | Path, pid: str, name: str = "") -> Problem:
    agent = f'agent "{name}"' if name else "an agent"
    holder = f"{agent} (process {pid})" if pid else "an agent that is just starting"
    return Problem(
        "state-taken",
        f"{path} is held by {holder}.",
        f"Stop it first (kill {pid}), or give this one a state file of its own." if pid else "Try again in a moment.",
    )


def holder(path: str | Path) -> tuple[int, str] | None:
    """Process and name of the agent that holds the lock now; None: nobody does. Writes nothing."""
    try:
        handle = os.open(f"{path}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        pid, _, name = os.pread(handle, 1000, 0).decode(errors="replace").partition(" ")
        # A process that is gone holds nothing; so a lock that an agent is just taking is hardly ever tried.
        if not pid.isdigit() or not _alive(int(pid)):
            return None
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(pid), name
    finally:
        os.close(handle)
    return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
