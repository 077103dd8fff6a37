"""SIGKILL at no particular moment: of the agent, and of a database server."""

from __future__ import annotations

import random
import signal
import time
from functools import partial
from pathlib import Path

from tests.crash.judge import doubles
from tests.crash.world import World
from tests.servers import PostgresServer


def test_the_agent_killed_at_any_moment(postgres: PostgresServer, tmp_path: Path) -> None:
    moments = random.Random(7)
    with World(tmp_path, {"crm": postgres, "erp": postgres}) as world:
        world.fill(customers=12, visits=6)
        world.accord("prepare", exits=0)
        with world.people():
            for n in range(3):
                world.start()
                world.until("it runs", lambda n=n: world.log().count("runs as") > n)  # type: ignore[misc]
                time.sleep(moments.uniform(0.1, 1.5))
                assert world.stop(signal.SIGKILL) == -signal.SIGKILL
                (world.folder / "state.db.sock").unlink()
                assert doubles(world.places) == []
        world.settles()
        world.stays_quiet()


def test_a_server_killed_while_people_edit(postgres: PostgresServer, tmp_path: Path) -> None:
    with (
        PostgresServer(durable=True) as other,
        World(tmp_path, {"crm": postgres, "erp": other}) as world,
    ):
        world.fill(customers=12, visits=6)
        world.accord("prepare", exits=0)
        agent = world.start()
        with world.people() as (crm, erp):
            for _ in range(2):
                mark = len(world.log())
                world.until("it writes to erp", partial(said, world, mark, "erp: "))
                other.kill()
                done = crm.done
                world.until("it says so", partial(said, world, mark, "erp does not answer"))
                world.until("the other side goes on", lambda: crm.done > done + 20)  # noqa: B023
                other.start()
                done = erp.done
                world.until("people come back", lambda: erp.done > done + 20)  # noqa: B023
                world.until("so does the agent", partial(said, world, mark, "erp answers again"))
        world.agrees()
        assert agent.poll() is None
        assert world.stop() == 0
        world.settles()
        world.stays_quiet()


def said(world: World, mark: int, text: str) -> bool:
    """Has the agent said this since then?"""
    return text in world.log()[mark:]
