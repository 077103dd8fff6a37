"""People hammer the very rows that Accord writes to: no update is lost on either side (I3).

Several connections change random columns of the same few hundred rows, each to a value that nobody else enters, while
what others do in the other system is applied to those rows. Afterwards every value is there, or somebody who saw it
replaced it, or the journal names the rule by which it lost.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.crash.judge import Journal
from tests.crash.world import World
from tests.servers import MariaServer, PostgresServer

ROWS = 150  # in each system, at the start
SECONDS = 5


@pytest.mark.parametrize(
    "systems", [("postgres", "postgres"), ("postgres", "mariadb"), ("mariadb", "postgres")], ids="-".join
)
def test_no_update_is_lost(systems: tuple[str, str], request: pytest.FixtureRequest, tmp_path: Path) -> None:
    servers: list[PostgresServer | MariaServer] = [request.getfixturevalue(name) for name in systems]
    with World(tmp_path, dict(zip(("crm", "erp"), servers, strict=True))) as world:
        world.fill(customers=ROWS, visits=0)
        world.accord("prepare", exits=0)
        agent = world.start("--json")
        world.agrees()
        with (
            world.people(pause=0.002, each=4, actions=("edit", "points"), at=("erp",)) as hammers,
            world.people(pause=0.005, each=1, actions=("edit", "points"), at=("crm",)) as others,
        ):
            time.sleep(SECONDS)
        world.agrees()
        assert agent.poll() is None
        assert world.stop() == 0
        assert sum(one.done for one in hammers) > 5 * ROWS, "they hammered"
        assert all(one.done > ROWS for one in others)
        world.settles()
        applied, missed = written(world)
        assert applied["crm"] > ROWS and applied["erp"] > ROWS, applied
        assert missed > 0, "no write of the agent's met an edit: nothing was tried"
        assert Journal(world.state).losers, "no edit met another"
        world.stays_quiet()


def written(world: World) -> tuple[Counter[str], int]:
    """What the agent said of its rounds: rows that it updated, by system, and how many had changed under its hands."""
    applied: Counter[str] = Counter()
    missed = 0
    for line in (world.folder / "run.out").read_text().splitlines():
        said = json.loads(line)["data"]
        missed += said.get("retries", 0)
        for system, counts in said.get("written", {}).items():
            applied[system] += counts.get("update", 0)
    return applied, missed
