"""Up to when a watermark has missed nothing: proved by what is open, or assumed where the account may not see that.

No overlap and no slack in these tests: what is found is found by proof.
"""

from __future__ import annotations

import time

import pytest

from adapters import horizon
from config.records import Complete
from tests.conformance.backend import Backend, Database
from tests.conformance.test_capture_watermark import COLUMNS, Poll, ago, put
from tests.conformance.world import World

RENEWED = 0.15  # seconds after which MariaDB tells anew what is open


@pytest.fixture(autouse=True)
def no_slack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(horizon, "SLACK", 0)


@pytest.fixture
def world(backend: Backend, db: Database) -> World:
    return polled(backend, db)


def polled(backend: Backend, db: Database, **options: object) -> World:
    world = World(backend, db)
    world.system = db.system(**{"overlap": 0, **options})
    world.create("customer", COLUMNS)
    return world.bind({"customer": ("customer", {"name": "name"}, {"capture": "watermark", "modified": "changed"})})


class Watch(Poll):
    """Polls at such a pace that each knows what is open now."""

    def __call__(self, limit: int = 100) -> list[str]:
        time.sleep(RENEWED)
        return super().__call__(limit)

    @property
    def complete(self) -> Complete:
        time.sleep(RENEWED)
        batch = self.system.changes(self.position, 100)
        assert batch.changes == []
        return batch.complete["customer"]


def micros() -> int:
    return time.time_ns() // 1000


@pytest.mark.parametrize("first", ["SELECT count(*) FROM customer", "INSERT INTO customer (id) VALUES (50)"])
def test_a_transaction_that_commits_late(world: World, first: str) -> None:
    """Its row is stamped when it began; whether it had written anything by the time that others were seen."""
    put(world, 1, ago(20))
    poll = Watch(world.system)
    poll()
    with world.db.people() as run:
        run(first)
        stamp = ago(0)
        for key in (2, 3):
            if not world.backend.single:
                put(world, key, ago(0))
                assert poll() == [str(key)]  # at once
            assert poll() == []
        run("INSERT INTO customer (id, name, changed) VALUES (4, 'late', ?)", stamp)
    assert poll() == ["4"]
    assert poll() == []


def test_one_that_ends_between_a_look_and_a_reading(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look at what is open comes first, so the row is either read or looked for again."""
    put(world, 1, ago(20))
    poll = Watch(world.system)
    poll()
    follow, late = horizon.follow, world.db.people()
    run = late.__enter__()
    run("SELECT count(*) FROM customer")
    stamp = ago(0)
    time.sleep(RENEWED)
    run("INSERT INTO customer (id, name, changed) VALUES (2, 'late', ?)", stamp)
    ended = []

    def looked(*arguments: object) -> horizon.Look:
        found = follow(*arguments)  # type: ignore[arg-type]
        if not ended:
            ended.append(late.__exit__(None, None, None))
        return found

    monkeypatch.setattr(horizon, "follow", looked)
    assert poll() + poll() == ["2"]
    assert poll() == []


def test_another_process_goes_on_behind_a_late_commit(world: World) -> None:
    put(world, 1, ago(20))
    poll = Watch(world.system)
    poll()
    with world.db.people() as run:
        run("SELECT count(*) FROM customer")
        stamp = ago(0)
        if not world.backend.single:
            put(world, 2, ago(0))
            assert poll() == ["2"]
        poll()
        run("INSERT INTO customer (id, name, changed) VALUES (3, 'late', ?)", stamp)
    other = world.db.system(overlap=0)
    other.bind(list(world.tables.values()))
    assert Watch(other, poll.position)() == ["3"]


def test_a_long_reader_delays_nothing_but_the_position(world: World) -> None:
    poll = Watch(world.system)
    poll()
    before = micros()
    with world.db.people() as run:
        run("SELECT count(*) FROM customer")
        if world.backend.single:
            run("INSERT INTO customer (id) VALUES (50)")
        began = micros()
        for key in (2, 3):
            if not world.backend.single:
                put(world, key, ago(0))
                assert poll() == [str(key)]
        held = poll.complete
        assert held.assumed == "" and ", open for " in held.held_by
        # MariaDB knows the start to the second, and says what it had noticed by the look before.
        assert before - 1_000_000 < held.at <= began if not world.backend.single else held.at <= began
    put(world, 4, ago(0))
    assert poll() == ["4"]
    assert poll.complete.at > began


def test_a_rolled_back_transaction_holds_nothing(world: World) -> None:
    poll = Watch(world.system)
    poll()
    with pytest.raises(RuntimeError), world.db.people() as run:
        run("INSERT INTO customer (id, name, changed) VALUES (2, 'gone', ?)", ago(0))
        poll()
        raise RuntimeError
    ended = micros()
    poll()  # a file tells of an end only by the next commit
    put(world, 3, ago(0))
    assert poll() == ["3"]
    assert poll.complete.at >= ended


def test_an_account_that_may_not_see_others(backend: Backend, db: Database) -> None:
    """The overlap alone: said as an assumption, with the right that makes a proof of it."""
    options = db.blind()
    world = polled(backend, db, overlap=2_000_000, **(options or {}))
    poll = Watch(world.system)
    poll()
    if options is None:
        assert poll.complete.assumed == "" and world.system.notes() == []
        return
    with db.people() as run:
        run("SELECT count(*) FROM customer")
        put(world, 1, ago(0))
        assert poll() == ["1"]
        run("INSERT INTO customer (id, name, changed) VALUES (2, 'late', ?)", ago(1))
    assert poll() == ["2"]
    (note,) = world.system.notes()
    grant = note.hint[note.hint.index("GRANT") :]
    assert note.code == "sessions-hidden" and grant in poll.complete.assumed
    db.sql(grant)
    other = db.system(overlap=2_000_000, **options)
    other.bind(list(world.tables.values()))
    assert Watch(other, poll.position).complete.assumed == "" and other.notes() == []
