"""A database that would have to keep too much for the agent is relieved of it, and nothing is lost (I11, I12)."""

from __future__ import annotations

from typing import Any

import pytest

from config.errors import Halt, Problem

from .conftest import MakeWorld
from .harness import World

LIMIT = 10  # the model counts entries


def loaded(world: MakeWorld, rows: int = 12) -> World:
    w = world("np", engine={"max_backlog": LIMIT})
    for n in range(rows):
        w.load(n=n, p=1)
    w.settle()
    w.engine.notes.clear()
    return w


def look(w: World) -> None:
    """One round in which the backlogs are looked at."""
    w.engine.backlog._due = 0
    w.round()


def test_past_the_limit_it_is_let_go_of_and_all_is_found(world: MakeWorld) -> None:
    """Edits, a delete and a new row, more entries than are allowed: the sweep finds all of them."""
    w = loaded(world)
    for n in range(1, 11):
        w.edit(f"b{n}", p=50 + n)
    w.delete("b12")
    new = w.create("b", n=99, p=9)
    look(w)
    assert w.systems["b"].log == [] and any("let go of" in note for note in w.engine.notes)
    assert w.engine.sweeper.waiting["thing", "b"].gap
    w.settle()
    assert w.column("a") == w.column("b") and w.get(new) == 99
    assert [w.get(f"a{n}", "p") for n in range(1, 11)] == [50 + n for n in range(1, 11)]
    assert w.kinds() == ["delete"] or w.row("a12") is None
    w.still()


def test_at_half_of_it_people_are_warned_once(world: MakeWorld) -> None:
    w = loaded(world)
    for n in range(1, 7):
        w.edit(f"b{n}", p=50 + n)
    for _ in range(2):
        w.engine.backlog._due = 0
        w.engine.backlog.look()
    assert len(w.engine.notes) == 1 and "max_backlog" in w.engine.notes[0]
    assert w.engine.sweeper.waiting == {} and len(w.systems["b"].log) == 6


def test_a_crash_between_asking_for_the_sweep_and_letting_go(world: MakeWorld, monkeypatch: Any) -> None:
    """The sweep is asked for first: whoever dies in between sweeps all the same."""
    w = loaded(world)
    for n in range(1, 12):
        w.edit(f"b{n}", p=50 + n)

    def dies() -> bool:
        w.systems["b"].log = []
        raise KeyboardInterrupt

    monkeypatch.setattr(w.systems["b"], "let_go", dies)
    w.engine.backlog._due = 0
    try:
        w.engine.backlog.look()
    except KeyboardInterrupt:
        pass
    monkeypatch.undo()
    w.stop()
    w.start()
    w.settle()
    assert [w.get(f"a{n}", "p") for n in range(1, 12)] == [50 + n for n in range(1, 12)]


@pytest.mark.parametrize(("code", "left"), [("database", 0), ("another-database", 11)])
def test_a_system_that_is_halted_is_relieved_if_it_is_ours(world: MakeWorld, code: str, left: int) -> None:
    """It takes no part for days, and goes on noting: past the limit it is let go of, and swept when it goes on."""
    w = loaded(world)
    halt = Halt(Problem(code, "must not go on", "repair it", system="b"))
    w.engine.went_down("b", halt)
    for n in range(1, 12):
        w.edit(f"b{n}", p=50 + n)
    w.engine.backlog._due = 0
    w.engine.backlog.look()
    assert len(w.systems["b"].log) == left and w.engine.is_halted("b")
    w.engine.try_again()
    w.settle()
    assert [w.get(f"a{n}", "p") for n in range(1, 12)] == [50 + n for n in range(1, 12)]
