"""The winner is the same however the edits are batched and whatever system is seen first (MODEL A7, I6)."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from .build import things
from .harness import SECOND, World, next_step, quick_folder

TOLERANCE = 3  # seconds
RECORDS = 2
Edit = tuple[int, int, int, int]  # second, system, record, field

edits = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 3), st.integers(1, RECORDS), st.integers(0, 1)),
    min_size=1,
    max_size=12,
)
plans = st.lists(st.tuples(st.permutations("abcd"), st.lists(st.integers(1, 3), max_size=3)), min_size=2, max_size=2)


def run(history: list[Edit], order: str, seen: list[str], cuts: list[int], batch: int) -> dict[tuple[int, str], int]:
    """All systems are cut off while people edit; they come back in groups. Returns the agreed values."""
    with quick_folder() as folder:
        options = {"tolerance": TOLERANCE * SECOND, "batch": batch, "threads": False}
        world = World(folder, things("np", order), systems=order, options=options)
        try:
            for _ in range(RECORDS):
                world.load(n=0, p=0)
            world.settle()
            base = next_step(world.now, TOLERANCE)
            for system in world.systems.values():
                system.down = True
            for value, (second, place, record, field) in enumerate(history, 1):
                entered: dict[str, Any] = {"np"[field]: value}
                world.edit(f"{'abcd'[place]}{record}", at=base + second, **entered)
            rest = list(seen)
            groups: list[list[str]] = []
            for cut in cuts:
                groups, rest = [*groups, rest[:cut]], rest[cut:]
            for group in (*groups, rest):
                for name in group:
                    world.systems[name].down = False
                world.now += 3600 * SECOND
                world.round()
            world.settle()
            agreed: dict[tuple[int, str], int] = {}
            for record in range(1, RECORDS + 1):
                for name in "np":
                    values = set(world.all(name, record))
                    assert len(values) == 1, f"{name} of {record}: {values}"
                    agreed[record, name] = int(str(values.pop()))
            return agreed
        finally:
            world.stop()


def expected(history: list[Edit], order: str) -> dict[tuple[int, str], int]:
    """The last edit of each system contends; the winner is the greatest (step of time, place in the order)."""
    winners = {(record, name): 0 for record in range(1, RECORDS + 1) for name in "np"}
    heads: dict[tuple[int, str], dict[str, tuple[int, int]]] = {}
    for value, (second, system, record, field) in enumerate(history, 1):
        heads.setdefault((record, "np"[field]), {})["abcd"[system]] = (second, value)
    for place, mine in heads.items():
        best = max(mine, key=lambda s: (mine[s][0] // TOLERANCE, -order.index(s)))
        winners[place] = mine[best][1]
    return winners


@given(history=edits, order=st.permutations("abcd"), plans=plans, batch=st.sampled_from([1, 3, 100]))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_the_winner_does_not_depend_on_batches(
    history: list[Edit], order: list[str], plans: list[tuple[list[str], list[int]]], batch: int
) -> None:
    """Two ways to batch one history, each against the rule worked out by hand."""
    history = sorted(history)
    want = expected(history, "".join(order))
    for seen, cuts in plans:
        assert run(history, "".join(order), list(seen), cuts, batch) == want
