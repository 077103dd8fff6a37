"""Wakes the agent when the log has brought something, beside what else may wake it."""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence

from adapters.ports import Waker
from adapters.postgresql.logical.backlog import Backlog
from adapters.waking import Bell


class StreamWaker:
    """See `adapters.ports.Waker`. The stream's thread rings; where no stream runs, the next poll begins one."""

    def __init__(self, backlog: Callable[[], Backlog | None]) -> None:
        self._backlog, self._bell = backlog, Bell()

    def fileno(self) -> int:
        return self._bell.fileno()

    def arm(self) -> None:
        if (backlog := self._backlog()) is not None:
            backlog.call(self._bell.ring)

    def clear(self) -> None:
        if (backlog := self._backlog()) is not None:
            backlog.call(None)
        self._bell.clear()

    def close(self) -> None:
        self.clear()
        self._bell.close()


class Several:
    """Any of these wakers wakes."""

    def __init__(self, wakers: Sequence[Waker]) -> None:
        self._wakers = wakers
        self._any = select.epoll()
        for waker in wakers:
            self._any.register(waker.fileno(), select.EPOLLIN)

    def fileno(self) -> int:
        return self._any.fileno()

    def arm(self) -> None:
        for waker in self._wakers:
            waker.arm()

    def clear(self) -> None:
        for waker in self._wakers:
            waker.clear()

    def close(self) -> None:
        self._any.close()
        for waker in self._wakers:
            waker.close()
