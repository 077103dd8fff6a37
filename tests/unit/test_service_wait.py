"""Whom `accord run` listens to while it waits."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace
from typing import Any

from adapters.waking import Bell
from agent.service import Service


class Waker(Bell):
    """One that rings whenever it is armed."""

    def __init__(self) -> None:
        super().__init__()
        self.armed = 0

    def arm(self) -> None:
        self.armed += 1
        self.ring()


class Stop:
    """Ends the service after so many waits; each lasts no time."""

    def __init__(self, waits: int) -> None:
        self.left = waits
        self.silent = 0  # waits that nobody ended

    @property
    def requested(self) -> bool:
        return self.left <= 0

    def wait(self, seconds: float, listener: Any, *wakers: Waker) -> set[int]:
        self.left -= 1
        called = {w.fileno() for w in wakers}
        self.silent += not called
        return called


def run(waits: int, worked: Any, **down: Any) -> tuple[Waker, Stop]:
    """The service beside one system, `crm`; `worked`: whether each round has something to do."""
    engine: Any = SimpleNamespace(down=down, clock=lambda: 0, start=lambda: None, state=SimpleNamespace())
    engine.state.waiting = lambda now: None
    engine.sweeper = SimpleNamespace(next_due=lambda: None)
    engine.complete = SimpleNamespace(save=lambda: None)
    listener: Any = SimpleNamespace(answer=lambda engine: None)
    stop: Any = Stop(waits)
    with closing(Waker()) as waker:
        service = Service(engine, listener, stop, lambda text: None, lambda report: None, poll=1)
        service.wakers = {"crm": waker}
        service.round = worked  # type: ignore[method-assign]
        service.forever()
    return waker, stop


def report(worked: bool) -> Any:
    return SimpleNamespace(worked=worked, held=[])


def test_who_calls_for_nothing_is_not_listened_to_for_one_wait() -> None:
    waker, stop = run(10, lambda called: report(False))
    assert (waker.armed, stop.silent) == (5, 5)


def test_who_calls_for_something_is_listened_to_again() -> None:
    rounds = iter([False] + [True, False] * 10)
    waker, stop = run(10, lambda called: report(next(rounds)))
    assert (waker.armed, stop.silent) == (10, 0)


def test_a_system_that_is_down_is_not_listened_to() -> None:
    waker, stop = run(4, lambda called: report(False), crm=SimpleNamespace(due=1))
    assert (waker.armed, stop.silent) == (0, 4)


def test_nobody_is_listened_to_while_the_state_cannot_be_written() -> None:
    waker, stop = run(4, lambda called: None)
    assert (waker.armed, stop.silent) == (0, 4)


def test_who_calls_is_asked_alone_and_then_everybody_is() -> None:
    """Whether there was something to do or not: before or after the next wait at the latest."""
    asked: list[list[str]] = []
    works = iter([False, True, False, False, False, True, True, False])

    def worked(called: Any) -> Any:
        asked.append(sorted(called))
        return report(next(works))

    run(5, worked)
    #                after a call: something, so at once again; nothing: its next call is not waited for
    assert asked == [[], ["crm"], [], ["crm"], [], ["crm"], [], []]
