"""A proxy between the agent and a server that can fail as networks do: cut at a chosen word, fall silent, refuse."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

CHUNK = 65536


@dataclass(eq=False)
class Line:
    """One connection of the agent's: both ends."""

    agent: socket.socket
    server: socket.socket
    heard: int = 0  # how many of the words of a cut

    def close(self) -> None:
        """Both ends see a reset, not a good end."""
        for end in (self.agent, self.server):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()


@dataclass
class Cut:
    """Where a connection is cut: when the agent has said these words, one message after the other."""

    words: tuple[bytes, ...]
    told: bool  # the server hears the last one, too, and answers; the answer is lost
    done: bool = False

    def met(self, line: Line, text: bytes) -> bool:
        """Is this the moment?"""
        if self.done or self.words[line.heard] not in text:
            return False
        line.heard += 1
        self.done = line.heard == len(self.words)
        return self.done


class Proxy:
    """Use as a context. One thread passes everything on; what the test asks for, it does between two messages."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.target = (host, port)
        self._listener = socket.create_server((host, 0))
        self.port = int(self._listener.getsockname()[1])
        self._selector = selectors.DefaultSelector()
        self._lines: set[Line] = set()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._ending = False
        self._silent = False
        self._refusing = False
        self._cut = Cut((), told=False, done=True)

    def __enter__(self) -> Self:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ending = True
        self._thread.join(10)
        self._drop_all()
        self._listener.close()
        self._selector.close()

    # --- what can go wrong -------------------------------------------------------------------------------------------

    def cut_after(self, *words: bytes, told: bool) -> Cut:
        """The next connection on which the agent says these words in order is cut, once."""
        for line in list(self._lines):
            line.heard = 0
        self._cut = cut = Cut(words, told)
        return cut

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Nothing gets through in either direction; afterwards all of it does."""
        self._silent = True
        try:
            yield
        finally:
            self._silent = False

    @contextmanager
    def down(self) -> Iterator[None]:
        """All connections are cut, and new ones are cut at once."""
        self._refusing = True
        try:
            yield
        finally:
            self._refusing = False

    # --- how ---------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ending:
            if self._silent:
                time.sleep(0.02)
                continue
            if self._refusing:
                self._drop_all()
            for key, _ in self._selector.select(0.02):
                if self._silent:
                    break
                if key.data is None:
                    self._accept()
                elif key.data in self._lines:
                    assert isinstance(key.fileobj, socket.socket)
                    self._pass_on(key.data, key.fileobj)

    def _accept(self) -> None:
        agent, _ = self._listener.accept()
        if self._refusing:
            agent.close()
            return
        try:
            server = socket.create_connection(self.target, timeout=10)
        except OSError:
            agent.close()
            return
        line = Line(agent, server)
        self._lines.add(line)
        for end in (agent, server):
            end.settimeout(10)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(end, selectors.EVENT_READ, line)

    def _pass_on(self, line: Line, end: socket.socket) -> None:
        try:
            text = end.recv(CHUNK)
            cut = self._cut
            now = end is line.agent and cut.met(line, text)
            if text and not (now and not cut.told):
                (line.server if end is line.agent else line.agent).sendall(text)
            if now and cut.told:
                line.server.recv(CHUNK)  # it has done as it was told; the agent never learns of it
        except OSError:
            self._drop(line)
            return
        if now or not text:
            self._drop(line)

    def _drop(self, line: Line) -> None:
        self._lines.discard(line)
        for end in (line.agent, line.server):
            self._selector.unregister(end)
        line.close()

    def _drop_all(self) -> None:
        for line in list(self._lines):
            self._drop(line)
