"""A minute and a half at full speed: people at work in both systems, and the network fails every few seconds.

The oracle is the judge's own SQL: afterwards both systems hold the same, and every edit is there, was replaced by
somebody who saw it, or stands in the journal with the rule by which it lost.
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.crash.judge import doubles
from tests.crash.world import World
from tests.faults.proxy import Proxy
from tests.servers import MariaServer, PostgresServer

SECONDS = 90
EACH = 2  # people in each system, who do not pause
FAILURES = ("cut", "down", "silence")


@pytest.mark.parametrize("capture", ["trigger", "log"])
def test_soak(capture: str, postgres: PostgresServer, mariadb: MariaServer, tmp_path: Path) -> None:
    chance = random.Random("soak")
    with ExitStack() as stack:
        proxies = {name: stack.enter_context(Proxy(s.port)) for name, s in (("crm", postgres), ("erp", mariadb))}
        ports = {name: proxy.port for name, proxy in proxies.items()}
        world = stack.enter_context(World(tmp_path, {"crm": postgres, "erp": mariadb}, capture, **ports))
        world.fill(customers=40, visits=20)
        world.accord("prepare", exits=0)
        agent = world.start()
        world.agrees()
        failures = 0
        with world.people(pause=0, each=EACH) as crew:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                time.sleep(chance.uniform(1, 4))
                fail(proxies[chance.choice(list(proxies))], chance.choice(FAILURES), chance.uniform(0.1, 1))
                failures += 1
                assert agent.poll() is None, world.log()
        assert failures > SECONDS / 6 and sum(one.done for one in crew) > 20 * SECONDS, "they were at work"
        world.agrees()
        assert doubles(world.places) == []
        assert world.stop() == 0
        world.settles()
        world.stays_quiet()


def fail(proxy: Proxy, how: str, seconds: float) -> None:
    """Every connection is cut; or nobody gets through for a while; or nothing is heard."""
    if how == "silence":
        with proxy.silence():
            time.sleep(seconds)
    else:
        with proxy.down():
            time.sleep(seconds if how == "down" else 0.05)
