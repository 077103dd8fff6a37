"""Requests to the agent that runs: JSON lines over a socket beside the state file (`state.db.sock`, mode 0600).

Commands that change something ask the running agent, which answers between two rounds, in the round's thread; so
one thread writes the state. Where no agent runs, `ask` says so with None, and the command takes the lock itself.

    request: {"do": "retry", …}        answer: {"ok": {…}}  or  {"exit": 3, "problems": [{…}]}
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from agent.complete import Told
from agent.engine import Down
from config.errors import USAGE, AccordError, ConfigError, Halt, Problem, Taken, Transient
from config.records import Stamp
from state.ports import State

LONGEST = 60.0  # seconds that a command waits for an answer: a round may be under way
PATIENCE = 5.0  # seconds that the agent waits for a request that was begun
MOST = 1_000_000  # bytes of a request


class Agent(Protocol):
    """Whom a request reaches: the engine, or what stands in for it before the first round (`starting.Starting`)."""

    @property
    def name(self) -> str: ...

    @property
    def starting(self) -> bool:
        """Does it still wait for systems before it can begin?"""
        ...

    @property
    def state(self) -> State: ...

    @property
    def phases(self) -> Mapping[str, str]:
        """By entity, see `agent.contact`."""
        ...

    @property
    def down(self) -> Mapping[str, Down]: ...

    def try_again(self) -> None:
        """What is down or halted is tried at once."""
        ...

    def seen(self) -> Told | None:
        """Up to when each system has been seen whole; None: what the state says of it holds."""
        ...

    @property
    def clock(self) -> Callable[[], Stamp]: ...


Handler = Callable[[Agent, dict[str, Any]], Mapping[str, Any]]

HANDLERS: dict[str, Handler] = {}


def register(name: str, handler: Handler) -> None:
    """The agent answers `{"do": name, …}` by what `handler(engine, message)` returns, or the AccordError it raises."""
    HANDLERS[name] = handler


def ask(state: str | Path, message: Mapping[str, Any], seconds: float = LONGEST) -> dict[str, Any] | None:
    """Ask the agent that runs on this state file; None: none runs. Raises what the handler raised.

    `Transient` when there is no answer within `seconds`: then it is not known whether the request was carried out.
    """
    try:
        answer = _exchange(Path(state), message, seconds)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError as error:
        problem = Problem("no-answer", f"the agent that runs on {state} gives no answer: {error}.", "Try again.")
        raise Transient(problem) from error
    if "ok" in answer:
        result: dict[str, Any] = answer["ok"]
        return result
    raise _raised(answer)


def _exchange(state: Path, message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as line, _address(state) as address:
        line.settimeout(seconds)
        line.connect(address)
        line.sendall(json.dumps(message).encode() + b"\n")
        with line.makefile("rb") as answers:
            text = answers.readline()
    if not text:
        raise ConnectionResetError("it ended")
    answer: dict[str, Any] = json.loads(text)
    return answer


def _raised(answer: Mapping[str, Any]) -> AccordError:
    problems = [Problem(**problem) for problem in answer["problems"]]
    kinds: tuple[type[AccordError], ...] = (ConfigError, Transient, Halt, Taken)
    kind = next((kind for kind in kinds if kind.exit == answer["exit"]), AccordError)
    return kind(problems)


def path_of(state: str | Path) -> Path:
    """Where the socket is."""
    return Path(f"{state}.sock")


@contextmanager
def _address(state: Path) -> Iterator[str]:
    """The socket's name for the system, which takes some 100 bytes at most: a deep folder is named by its handle."""
    path = path_of(state).absolute()
    if len(os.fsencode(path)) < 100:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class Listener:
    """The agent's end. Holding the `StateLock`, it may take over a socket that an earlier agent left behind."""

    def __init__(self, state: str | Path) -> None:
        self.path = path_of(state)
        self.path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            with _address(Path(state)) as address:
                self._socket.bind(address)
        finally:
            os.umask(before)
        self._socket.listen(16)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def answer(self, engine: Agent) -> int:
        """Answer all requests that wait; how many there were. Never raises for what a client did."""
        count = 0
        while True:
            try:
                line, _ = self._socket.accept()
            except BlockingIOError:
                return count
            count += 1
            with line, suppress(OSError):
                line.settimeout(PATIENCE)
                with line.makefile("rb") as requests:
                    text = requests.readline(MOST)
                line.sendall(json.dumps(_answer(engine, text)).encode() + b"\n")

    def close(self) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)


def _answer(engine: Agent, text: bytes) -> dict[str, Any]:
    try:
        message = json.loads(text)
        handler = HANDLERS[message["do"]]
    except (ValueError, KeyError, TypeError):
        problem = Problem("request", "the running agent does not know this request.", "Is it of the same version?")
        return {"exit": USAGE, "problems": [asdict(problem)]}
    try:
        return {"ok": dict(handler(engine, message))}
    except AccordError as error:
        return {"exit": error.exit, "problems": [asdict(p) for p in error.problems]}
