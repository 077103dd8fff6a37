"""When one statement for many rows fails: which rows are to blame, and everything else lands.

Generic over what is run: adapters bring `attempt` (one statement, or a few, for these items), `savepoint` (a context
manager that rolls back to where it began when its body raises) and `refused` (is this error about the rows?).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Refusal(NamedTuple):
    """The database's own words about one item."""

    message: str
    hint: str = ""
    again: bool = False  # unique and foreign-key refusals: may go away once the other writes are done


class _Undo(Exception):
    """Leaves a savepoint so that it rolls back."""


def settle(
    items: Sequence[Item],
    attempt: Callable[[Sequence[Item]], Sequence[Result]],
    savepoint: Callable[[], AbstractContextManager[object]],
    refused: Callable[[Exception], Refusal | None],
    loosen: Callable[[Sequence[Item]], None] | None = None,
) -> list[Result | Refusal]:
    """Run `attempt` so that only the failing items fail; results in the order of the items.

    What is refused by a unique or foreign-key rule is tried again after the rest, as long as that helps; items that
    only block each other (two rows that swap a unique value) are tried after `loosen`, which frees their values.
    An error that `refused` does not know (None) is raised as it is.
    """
    results: dict[int, Result | Refusal] = {}
    run = _Run(items, attempt, savepoint, refused, results)
    run.halves(range(len(items)))
    run.again()
    if loosen is not None:
        run.loosened(loosen)
    return [results[i] for i in range(len(items))]


@dataclass(slots=True)
class _Run(Generic[Item, Result]):
    items: Sequence[Item]
    attempt: Callable[[Sequence[Item]], Sequence[Result]]
    savepoint: Callable[[], AbstractContextManager[object]]
    refused: Callable[[Exception], Refusal | None]
    results: dict[int, Result | Refusal]

    def halves(self, indexes: Sequence[int]) -> None:
        """Attempt them together; if that fails, each half."""
        if not indexes:
            return
        refusal = self.once(indexes)
        if refusal is None:
            return
        if len(indexes) == 1:
            self.results[indexes[0]] = refusal
            return
        middle = len(indexes) // 2
        self.halves(indexes[:middle])
        self.halves(indexes[middle:])

    def once(self, indexes: Sequence[int]) -> Refusal | None:
        try:
            with self.savepoint():
                found = self.attempt([self.items[i] for i in indexes])
        except Exception as error:
            refusal = self.refused(error)
            if refusal is None:
                raise
            return refusal
        self.results.update(zip(indexes, found, strict=True))
        return None

    def waiting(self) -> list[int]:
        return sorted(i for i, r in self.results.items() if isinstance(r, Refusal) and r.again)

    def again(self) -> None:
        """A chain (2 -> 3, then 1 -> 2) lands step by step: go on while each pass lands something."""
        waiting = self.waiting()
        while waiting:
            self.halves(waiting)
            left = self.waiting()
            if len(left) == len(waiting):
                return
            waiting = left

    def loosened(self, loosen: Callable[[Sequence[Item]], None]) -> None:
        """Free the values of all that still wait, then write them; whoever fails even so is left out, and again."""
        waiting = self.waiting()
        while len(waiting) > 1:
            before = {i: self.results[i] for i in waiting}
            try:
                with self.savepoint():
                    loosen([self.items[i] for i in waiting])
                    self.halves(waiting)
                    failed = [i for i in waiting if isinstance(self.results[i], Refusal)]
                    if not failed:
                        return
                    raise _Undo
            except _Undo:
                self.results.update(before)
                waiting = [i for i in waiting if i not in failed]
            except Exception as error:
                self.results.update(before)
                if self.refused(error) is None:
                    raise
                return
