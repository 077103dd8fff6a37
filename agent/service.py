"""`accord run`: rounds while there is work, else waiting: for a change, for what is due, for a request, for the poll.

One thread: the round's. Requests (`agent.requests`) are answered between two rounds. SIGTERM and SIGINT end the loop
after the round that is under way; a second SIGINT ends the process at once, which is safe like any crash.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from adapters.ports import Waker
from agent import contact, handlers
from agent.engine import Engine
from agent.requests import Agent, Listener, ask, register
from agent.round import Report
from config.errors import INTERRUPTED, Problem, Transient
from config.records import Stamp

SECOND = 1_000_000
QUIET = 3 * SECOND  # `--once`: how long it waits for retries that are due soon, since it last achieved something
LONGEST = 60 * SECOND  # `--once`: how long it follows people who never stop editing, once it has caught up
REPEAT = 30.0  # seconds between two lines about a system that stays down
SELDOM = 1800.0  # and about one that stays halted: only a person can end it
STATE_PAUSE = 5.0  # seconds before a round that the state could not take is tried again

request = ask  # what commands use: service.request(state_path, message)


class Stop:
    """Has somebody asked the process to end? Waits are cut short by it."""

    def __init__(self) -> None:
        self.requested = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before = {number: signal.signal(number, self._asked) for number in (signal.SIGTERM, signal.SIGINT)}

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            os.write(sys.stderr.fileno(), b"Interrupted twice: ended in the middle of a round.\n")
            os._exit(INTERRUPTED)
        if not self.requested:
            self.requested = True
            os.write(self._write, b".")
            if number == signal.SIGINT:
                os.write(sys.stderr.fileno(), b"It ends after this round; once more, and it ends at once.\n")

    def wait(self, seconds: float, *others: Listener | Waker) -> set[int]:
        """Until then, or until somebody wants something: an end, or one of the others. Descriptors that called."""
        ready, _, _ = select.select([self._read, *(other.fileno() for other in others)], [], [], max(0.0, seconds))
        return set(ready)

    def close(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)


@dataclass
class Totals:
    """What all rounds of this run did together."""

    rounds: int = 0
    written: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    linked: int = 0
    conflicts: int = 0

    def add(self, report: Report) -> None:
        self.rounds += report.worked
        for system, counts in report.written.items():
            self.written[system].update(counts)
        self.linked += report.linked
        self.conflicts += report.conflicts


class Repeated:
    """Says again what stays wrong, at most every so many seconds for each subject."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._last: dict[str, float] = {}

    def __call__(self, subject: str, text: str, every: float = REPEAT) -> None:
        now = time.monotonic()
        if now - self._last.get(subject, -every) >= every:
            self._last[subject] = now
            self._say(text)

    def over(self, subject: str, text: str) -> None:
        if self._last.pop(subject, None) is not None:
            self._say(text)


class Service:
    """The loop. `said` gets every round that did something; `log` a line for people."""

    def __init__(
        self,
        engine: Engine,
        listener: Listener,
        stop: Stop,
        log: Callable[[str], None],
        said: Callable[[Report], None],
        poll: int,
    ) -> None:
        self.engine, self.listener, self.stop = engine, listener, stop
        self.log, self.said, self.poll = log, said, poll
        self.wakers: dict[str, Waker] = {}  # by system
        self._woken: set[str] = set()  # by whom the last wait was ended
        self.repeated = Repeated(log)
        self.totals = Totals()
        self.begun = engine.clock()
        self._told: set[str] = set()  # subjects of lines about systems that take no part
        self._held: list[str] = []

    # --- the two ways to run ------------------------------------------------------------------------------------------

    def forever(self) -> None:
        """Until somebody asks for an end."""
        self.engine.start()
        while not self.stop.requested:
            report = self.round(self._woken)
            self.listener.answer(self.engine)
            if report is None:
                self.pause(STATE_PAUSE, deaf=self.wakers)
                self.engine.start()
            else:
                self.tell_held(report.held)
                if not report.worked:
                    self.pause(self.until_next(), deaf=self._woken)
                else:
                    self._woken = set()
        self.engine.complete.save()

    def once(self) -> None:
        """Until all that was there at the start is settled, as far as it can be now."""
        self.engine.start()
        last = self.engine.clock()  # when something was last achieved
        caught_up: Stamp | None = None
        while not self.stop.requested:
            report = self.round()
            self.listener.answer(self.engine)
            now = self.engine.clock()
            if report is None:
                raise self._broken
            goes_on = self.first_contact_goes_on() or self.engine.sweeper.next_due() is not None
            if report.written or report.linked or goes_on:
                last = now
            if caught_up is None and not report.more and not goes_on:
                caught_up = now
            if caught_up is not None and now - caught_up > LONGEST:
                break
            if not report.worked:
                due = self.due_soon(last + QUIET)
                if due is None:
                    break
                self.pause((due - now) / SECOND)
        self.engine.complete.save()

    def first_contact_goes_on(self) -> bool:
        """An entity whose first contact is under way, and not only waiting for a system or for a parent's."""
        moving = (contact.INDEX, contact.LINK)
        return not self.engine.down and any(phase in moving for phase in self.engine.phases.values())

    def due_soon(self, limit: Stamp) -> Stamp | None:
        """When the next retry is due, if that is before `limit`."""
        dues = [down.due for down in self.engine.down.values()]
        others = (self.engine.state.waiting(self.engine.clock()), self.engine.sweeper.next_due())
        due = min([*dues, *(other for other in others if other is not None)], default=None)
        return due if due is not None and due <= limit else None

    # --- one round ----------------------------------------------------------------------------------------------------

    def round(self, called: Collection[str] = ()) -> Report | None:
        """One round, and what is to be said of it. None: the state could not take it (full disk …); try again."""
        try:
            report = self.engine.round(called)
        except Transient as error:
            self._broken = error
            self.repeated("state", str(error))
            return None
        self.repeated.over("state", "The state can be written again.")
        self.totals.add(report)
        if report.worked or report.written:
            self.said(report)
        text = sentence(report)
        if text:
            self.log(text)
        self.tell_down()
        self.tell_notes()
        return report

    def tell_notes(self) -> None:
        """What the engine wants people to know: sweeps that begin and end, gaps."""
        for note in self.engine.notes:
            self.log(note)
        self.engine.notes.clear()

    def tell_down(self) -> None:
        """Systems that take no part are named, now and then; and once when they take part again."""
        subjects = {f"{system} is halted" if down.halt else system for system, down in self.engine.down.items()}
        for subject in self._told - subjects:
            system = subject.removesuffix(" is halted")
            self.repeated.over(subject, f"{system} answers again." if subject == system else f"{system} goes on.")
        for system, down in self.engine.down.items():
            if down.halt:
                self.repeated(f"{system} is halted", halted_sentence(system, down.halt.problem), SELDOM)
                continue
            pause = max(1, round((down.due - self.engine.clock()) / SECOND))
            self.repeated(system, f"{system} does not answer: {down.message} It is tried again in {pause} s.")
        self._told = subjects

    def tell_held(self, held: list[str]) -> None:
        if held and held != self._held:
            self.log(held_sentence(held))
        self._held = list(held)

    # --- waiting ------------------------------------------------------------------------------------------------------

    def until_next(self) -> float:
        """Seconds until something is to be done by itself."""
        now = self.engine.clock()
        dues = [self.engine.state.waiting(now), self.engine.sweeper.next_due()]
        dues += [down.due for down in self.engine.down.values()]
        return min([self.poll, *(due - now for due in dues if due is not None)]) / SECOND

    def pause(self, seconds: float, deaf: Collection[str] = ()) -> None:
        """Wait; a change ends the wait. Requests are answered meanwhile, and end it too: they may have made work.

        `deaf`: systems that called for nothing just now. They are not listened to this time, and cost two rounds per
        poll at most; so do those that are down, whose entries stay where they are.
        """
        if self.stop.requested:
            return
        listened = {s: w for s, w in self.wakers.items() if s not in deaf and s not in self.engine.down}
        for waker in listened.values():
            waker.arm()
        called = self.stop.wait(seconds, self.listener, *listened.values())
        self._woken = {s for s, w in listened.items() if w.fileno() in called}
        for waker in listened.values():
            waker.clear()
        self.listener.answer(self.engine)


ACTIONS = {
    "create": "created",
    "update": "updated",
    "delete": "deleted",
    "archive": "archived",
    "restore": "restored",
}


def counted(counts: Mapping[str, int]) -> str:
    """`3 updated, 1 created`."""
    return ", ".join(f"{n:,} {ACTIONS.get(action, action)}" for action, n in counts.items() if n)


def sentence(report: Report) -> str:
    """What a round wrote, for the log; empty if nothing."""
    parts = [f"{system}: {text}" for system, counts in report.written.items() if (text := counted(counts))]
    for count, word in ((report.linked, "linked"), (report.conflicts, "conflict"), (report.reviews, "in review")):
        if count:
            parts.append(f"{count:,} {word}{'s' if word == 'conflict' and count > 1 else ''}")
    return " · ".join(parts)


def held_sentence(held: list[str]) -> str:
    names = ", ".join(held)
    return (
        f"First contact of {names} is held: nothing of it is read or written. "
        "What to do: look at `accord plan`, then say yes with `accord plan --accept`."
    )


def halted_sentence(system: str, problem: Problem) -> str:
    """For the log: why a system takes no part, and what to do."""
    hint = f" What to do: {problem.hint.rstrip('.')}." if problem.hint else ""
    return (
        f"{system} is halted: {problem.message}{hint} Nothing is read or written there, the other systems go on. "
        "It is looked at every 5 minutes, and at once after `accord review retry --all` or a restart."
    )


def _status(engine: Agent, message: dict[str, Any]) -> dict[str, Any]:
    """What only the running agent knows."""
    answer: dict[str, Any] = {"pid": os.getpid(), "agent": engine.name, "starting": engine.starting}
    answer |= {"down": {}, "halted": {}, "complete": engine.seen()}
    for system, d in engine.down.items():
        shown = {"since": d.since, "due": d.due, "message": d.message}
        if d.halt:
            answer["halted"][system] = shown | {"hint": d.halt.problem.hint}
        else:
            answer["down"][system] = shown
    return answer


register("status", _status)

__all__ = ["Service", "Stop", "Totals", "handlers", "register", "request"]
