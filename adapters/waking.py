"""What wakes the agent while it waits: a thread per system that watches by a connection of its own.

How a system is watched is its adapter's `Watch`; this module has the rest: when to watch, how to tell the agent, what
to do when the connection is cut. A watch that does not work delays changes until the next poll and loses none.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from typing import Protocol

from config.errors import AccordError

LONGEST_PAUSE = 30.0  # seconds between two tries of a watch that fails

Wait = Callable[..., None]
"""(seconds, *descriptors): until then, or until one of them can be read, or the agent wants something of the thread."""


class Watch(Protocol):
    """One system's change log, watched. Used by the thread of its waker alone."""

    def look(self, wait: Wait) -> bool:
        """Wait a while for entries, by `wait` and nothing else. True: there are some. May return False at any time.

        What was written into the log before is seen as well as what comes. Raises our own errors.
        """
        ...

    def close(self) -> None:
        """Let go of the connection; the next look connects again. Never raises."""
        ...


class Ask:
    """The plainest watch: a cheap question, again and again."""

    def __init__(self, question: Callable[[], bool], close: Callable[[], None], every: float) -> None:
        self._question, self._every = question, every
        self.close = close

    def look(self, wait: Wait) -> bool:
        if self._question():
            return True
        wait(self._every)
        return False


class Bell:
    """A pipe by which one thread calls another."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        return self._read

    def ring(self) -> None:
        try:
            os.write(self._write, b".")
        except BlockingIOError:  # full: it has been rung often enough
            pass

    def clear(self) -> bool:
        """Forget the calls; whether there were any."""
        try:
            return bool(os.read(self._read, 1 << 16))
        except BlockingIOError:
            return False

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


class ThreadWaker:
    """See `adapters.ports.Waker`."""

    def __init__(self, system: str, watch: Watch) -> None:
        self._watch = watch
        self._bell, self._call = Bell(), Bell()  # for the agent, and for the thread
        self._lock = threading.Lock()
        self._armed = self._ended = False
        self._thread = threading.Thread(target=self._run, name=f"accord-{system}-waker", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        return self._bell.fileno()

    def arm(self) -> None:
        self._armed = True
        self._call.ring()

    def clear(self) -> None:
        with self._lock:
            self._armed = False
            self._bell.clear()

    def close(self) -> None:
        self._ended = True
        self._call.ring()
        self._thread.join(1.0)  # it may be waiting for a server that does not answer; the process ends all the same
        if not self._thread.is_alive():
            self._bell.close()
            self._call.close()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause, again = 0.5, 0.0
        while not self._ended:
            delay = again - time.monotonic()
            if not self._armed or delay > 0:
                self._wait(max(delay, 0.0) if self._armed else None)
                continue
            try:
                if self._watch.look(self._wait):
                    self._ring()
                pause = 0.5
            except AccordError:  # the round's own calls say what is wrong
                self._watch.close()
                pause = min(2 * pause, LONGEST_PAUSE)
                again = time.monotonic() + pause
        self._watch.close()

    def _wait(self, seconds: float | None, *descriptors: int) -> None:
        call = self._call.fileno()
        ready, _, _ = select.select([call, *descriptors], [], [], seconds)
        if call in ready:
            self._call.clear()

    def _ring(self) -> None:
        with self._lock:
            if self._armed:
                self._armed = False
                self._bell.ring()
