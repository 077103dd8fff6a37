"""The agent before its first round: it waits for systems that do not answer yet, and is there for requests meanwhile.

What is mapped can be judged only when every system has been seen. So until then nothing is read or written, but
`accord status` says which system is waited for, and what a person answers (`accord review`) goes into the state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from agent import contact, session
from agent.complete import Told
from agent.engine import Down, now
from agent.requests import Listener
from agent.service import Repeated, Stop
from config.errors import Transient
from config.model import Config
from config.records import Stamp
from state.store import Store

T = TypeVar("T")

SECOND = 1_000_000
LONGEST = 30 * SECOND  # between two tries


class Starting:
    """Stands in for the engine (`requests.Agent`). Holds the state only while it is asked for."""

    starting = True

    def __init__(self, config: Config, listener: Listener, stop: Stop, log: Callable[[str], None]) -> None:
        self.config, self.name = config, config.agent.name
        self.down: dict[str, Down] = {}
        self._listener, self._stop, self._repeated = listener, stop, Repeated(log)
        self._state: Store | None = None

    def until_it_answers(self, job: Callable[[], T]) -> T | None:
        """What the job returns, as soon as it does not raise `Transient`. None: asked to stop meanwhile."""
        while not self._stop.requested:
            try:
                return job()
            except Transient as error:
                self._wait(error)
        return None

    def _wait(self, error: Transient) -> None:
        system = error.problem.system or "the state"
        before = self.down.get(system)
        attempts = before.attempts + 1 if before is not None else 1
        pause = min(SECOND << min(attempts - 1, 20), LONGEST)
        since = before.since if before is not None else self.clock()
        self.down = {system: Down(since, self.clock() + pause, attempts, error.problem.message)}
        self._repeated(system, f"waiting for {error}")
        while not self._stop.requested and (left := self.down[system].due - self.clock()) > 0:
            self._stop.wait(left / SECOND, self._listener)
            self._listener.answer(self)

    def close(self) -> None:
        """The engine takes over."""
        if self._state is not None:
            self._state.close()
            self._state = None

    # --- what requests ask for ---------------------------------------------------------------------------------------

    @property
    def state(self) -> Store:
        if self._state is None:
            self._state = session.writer(self.config)
        return self._state

    @property
    def phases(self) -> dict[str, str]:
        return contact.load_phases(self.state, self.config.entities)

    def clock(self) -> Stamp:
        return now()

    def try_again(self) -> None:
        for down in self.down.values():
            down.due = self.clock()

    def seen(self) -> Told | None:
        """No round has been yet."""
        return None
