"""Bisecting, on a table in memory with a unique value per row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.bisect import Refusal, settle

Item = tuple[int, int]  # row, new value


class Bad(Exception):
    pass


class Taken(Exception):
    pass


class Rows:
    """row -> unique value; values below zero are refused."""

    def __init__(self, values: dict[int, int | None]) -> None:
        self.values = values
        self.attempts = 0

    def attempt(self, items: Sequence[Item]) -> list[str]:
        self.attempts += 1
        for row, value in items:
            if value < 0:
                raise Bad(f"{value} is negative")
            if value in (v for r, v in self.values.items() if r != row):
                raise Taken(f"{value} is taken")
            self.values[row] = value
        return [f"row {row}" for row, _ in items]

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        before = dict(self.values)
        try:
            yield
        except BaseException:
            self.values = before
            raise

    def refused(self, error: Exception) -> Refusal | None:
        return Refusal(str(error), again=isinstance(error, Taken)) if isinstance(error, (Bad, Taken)) else None

    def loosen(self, items: Sequence[Item]) -> None:
        for row, _ in items:
            self.values[row] = None

    def settle(self, *items: Item, loosen: bool = False) -> list[str | Refusal]:
        return settle(items, self.attempt, self.savepoint, self.refused, self.loosen if loosen else None)


def test_all_is_well() -> None:
    rows = Rows({1: 10, 2: 20})
    assert rows.settle((1, 11), (2, 21)) == ["row 1", "row 2"]
    assert rows.attempts == 1
    assert Rows({}).settle() == []


def test_one_bad_item_of_many_costs_a_few_attempts() -> None:
    rows = Rows({n: n for n in range(1000)})
    results = rows.settle(*((n, -1 if n == 617 else n + 5000) for n in range(1000)))
    assert [n for n, r in enumerate(results) if isinstance(r, Refusal)] == [617]
    assert results[617] == Refusal("-1 is negative")
    assert rows.values[617] == 617 and rows.values[616] == 5616
    assert rows.attempts < 30


def test_a_chain_lands_step_by_step() -> None:
    rows = Rows({n: n for n in range(10)})
    assert rows.settle(*((n, n + 1) for n in range(10))) == [f"row {n}" for n in range(10)]
    assert rows.values == {n: n + 1 for n in range(10)}


def test_a_swap_needs_loosening() -> None:
    rows = Rows({1: 10, 2: 20, 3: 30})
    results = rows.settle((1, 20), (2, 10), (3, 31))
    assert [isinstance(r, Refusal) for r in results] == [True, True, False]
    assert rows.values == {1: 10, 2: 20, 3: 31}
    assert rows.settle((1, 20), (2, 10), (3, 32), loosen=True) == ["row 1", "row 2", "row 3"]
    assert rows.values == {1: 20, 2: 10, 3: 32}


def test_a_swap_beside_one_that_cannot_land() -> None:
    rows = Rows({1: 10, 2: 20, 3: 30, 9: 90})
    results = rows.settle((1, 20), (2, 10), (3, 90), loosen=True)
    assert results[:2] == ["row 1", "row 2"] and results[2] == Refusal("90 is taken", again=True)
    assert rows.values == {1: 20, 2: 10, 3: 30, 9: 90}


def test_an_unknown_error_is_raised() -> None:
    rows = Rows({1: 10})

    def attempt(items: Sequence[Item]) -> list[str]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        settle([(1, 2)], attempt, rows.savepoint, rows.refused, rows.loosen)


def test_an_error_while_loosening_leaves_everything_as_it_was() -> None:
    rows = Rows({1: 10, 2: 20})

    def loosen(items: Sequence[Item]) -> None:
        rows.loosen(items[:1])
        raise Bad("no NULL here")

    results = settle([(1, 20), (2, 10)], rows.attempt, rows.savepoint, rows.refused, loosen)
    assert all(isinstance(r, Refusal) for r in results)
    assert rows.values == {1: 10, 2: 20}


@given(st.permutations(range(6)), st.sets(st.integers(0, 5)))
def test_whatever_can_land_lands(order: list[int], bad: set[int]) -> None:
    """Rows take each other's values in any order; those of `bad` cannot, nor those who wait for what they hold."""
    rows = Rows({n: n for n in range(6)})
    results = rows.settle(*((n, -1 if n in bad else value) for n, value in enumerate(order)), loosen=True)
    landed = {n for n, r in enumerate(results) if not isinstance(r, Refusal)}
    stuck = set(bad)
    while more := {n for n in set(range(6)) - stuck if order[n] in stuck}:
        stuck |= more
    assert landed == set(range(6)) - stuck
    assert rows.values == {n: order[n] if n in landed else n for n in range(6)}
