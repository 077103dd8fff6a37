"""SIGKILL at each named point of the round, while people edit both systems: nothing is lost, nothing is doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import crash
from tests.crash.judge import doubles
from tests.crash.world import World
from tests.servers import MariaServer, PostgresServer

SYSTEMS = ("crm", "erp")
POINTS = [
    point
    for name in crash.POINTS
    for point in ([f"{name}:{s}" for s in SYSTEMS] if name in ("applying", "applied") else [name])
]
HEART = ("applying:crm", "applying:erp", "decided", "applied:crm", "applied:erp")
# Which passage of the point, counted from the agent's start. After each list the agent comes back and all is judged;
# within a list it is killed again while it mends what the kill before has left.
KILLS = [[1], [3], [2, 1]]


@pytest.mark.parametrize("capture", ["trigger", "log"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at(point: str, capture: str, postgres: PostgresServer, tmp_path: Path) -> None:
    with World(tmp_path, {"crm": postgres, "erp": postgres}, capture) as world:
        world.fill(customers=12, visits=6)
        world.accord("prepare", exits=0)
        for kills in KILLS if point in HEART else [[1], [3, 1]]:
            with world.people() as crew:
                for nth in kills:
                    world.dies(point, nth)
                    assert doubles(world.places) == []
            assert all(one.done for one in crew)
            world.settles()
        world.stays_quiet()


@pytest.mark.parametrize("point", HEART)
def test_killed_with_mariadbs_log(point: str, mariadb: MariaServer, tmp_path: Path) -> None:
    with World(tmp_path, {"crm": mariadb, "erp": mariadb}, "log") as world:
        world.fill(customers=12, visits=6)
        world.accord("prepare", exits=0)
        for kills in ([1], [3, 1]):
            with world.people():
                for nth in kills:
                    world.dies(point, nth)
                    assert doubles(world.places) == []
            world.settles()
        world.accord("run", "--once", exits=0)
        world.stays_quiet()
