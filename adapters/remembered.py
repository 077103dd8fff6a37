"""What was handed out of a table with watermark capture, as hashes: 8 bytes a row, and no more rows than is sensible.

What is forgotten is looked at once more when it is read again, which costs a look and harms nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from hashlib import blake2b

from config.records import Stamp

HASH = 8  # bytes: among all that is remembered, one row in 10^14 is passed over by collision
KEPT = 100_000  # rows of a table, about 10 MB
STORED = 1000  # rows of a table, 8 kB
BLOCK = 100  # rows that are let go of together, at least

Block = tuple[Stamp | None, list[bytes]]
"""Nothing in it is stamped later than this (None: not known), and the hashes."""


class Remembered:
    """Rows come in blocks, so that old ones are let go of by their stamps without a look at each."""

    def __init__(self, stored: bytes = b"", newest: Stamp | None = None) -> None:
        """`stored`: as `stored` gave it; `newest`: nothing of it is stamped later."""
        hashes = [stored[i : i + HASH] for i in range(0, len(stored), HASH)]
        self._settled = dict.fromkeys(hashes, True)  # hash -> was it handed out for the last time?
        self._unsettled: set[bytes] = set()
        self._blocks: deque[Block] = deque([(newest, hashes)])

    def block(self, newest: Stamp | None) -> None:
        """What is added from now on is stamped at `newest` at the latest (None: not known)."""
        before, names = self._blocks[-1]
        if len(names) >= BLOCK:
            self._blocks.append((newest, []))
        elif not names:
            self._blocks[-1] = newest, names
        elif before is not None:
            self._blocks[-1] = None if newest is None else max(newest, before), names

    def wants(self, name: bytes, final: bool) -> bool:
        """Is the row to be handed out? It is, twice if the first time was not `final`."""
        settled = self._settled.get(name)
        return settled is None or (final and not settled)

    def add(self, name: bytes, final: bool) -> None:
        if name not in self._settled:
            self._blocks[-1][1].append(name)
        self._settled[name] = final
        if final:
            self._unsettled.discard(name)
        else:
            self._unsettled.add(name)

    def forget(self, low: Stamp) -> None:
        """Nothing below `low` is read again."""
        while len(self._blocks) > 1 and _is_below(self._blocks[0], low):
            self._drop(self._blocks.popleft())
        if len(self._settled) <= KEPT:
            return
        for block in [b for b in self._blocks if _is_below(b, low)]:
            self._blocks.remove(block)
            self._drop(block)
        while len(self._blocks) > 1 and len(self._settled) > KEPT:
            self._drop(self._blocks.popleft())
        if not self._blocks:
            self._blocks.append((None, []))

    def _drop(self, block: Block) -> None:
        for name in block[1]:
            self._settled.pop(name, None)
            self._unsettled.discard(name)

    @property
    def unsettled(self) -> bool:
        """Is there a row that is to be handed out once more?"""
        return bool(self._unsettled)

    def __len__(self) -> int:
        return len(self._settled)

    def stored(self) -> bytes:
        """The last of those that are settled."""
        found: list[bytes] = []
        for _, names in reversed(self._blocks):
            found += [name for name in reversed(names) if self._settled.get(name)]
            if len(found) >= STORED:
                break
        return b"".join(reversed(found[:STORED]))


def _is_below(block: Block, low: Stamp) -> bool:
    return block[0] is not None and block[0] < low


def name_of(row: Hashable) -> bytes:
    return blake2b(repr(row).encode(errors="surrogatepass"), digest_size=HASH).digest()
