"""The network between the agent and a server fails while people edit: afterwards all agree, and nothing is doubled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.crash.judge import differences, doubles
from tests.crash.world import World
from tests.faults.proxy import Proxy
from tests.servers import MariaServer, PostgresServer

KINDS = ("postgres", "mariadb")
# A transaction of the agent's that writes begins with the fence.
MOMENTS = {
    "while it writes": ((b"accord_fence", b"customer"), False),
    "before the commit is heard": ((b"accord_fence", b"COMMIT"), False),
    "before the commit is answered": ((b"accord_fence", b"COMMIT"), True),
}


@pytest.fixture
def erp(request: pytest.FixtureRequest) -> PostgresServer | MariaServer:
    server: PostgresServer | MariaServer = request.getfixturevalue(request.param)
    return server


@contextmanager
def running(
    folder: Path, proxy: Proxy, capture: str = "trigger", **servers: PostgresServer | MariaServer
) -> Iterator[World]:
    """Systems in agreement, the agent at work; `erp` is behind the proxy. When all is over the judge speaks."""
    with World(folder, servers, capture, erp=proxy.port) as world:
        world.fill(customers=12, visits=6)
        world.accord("prepare", exits=0)
        agent = world.start()
        world.agrees()
        yield world
        world.agrees()
        assert agent.poll() is None
        assert world.stop() == 0
        world.settles()
        world.stays_quiet()


@pytest.mark.parametrize("erp", KINDS, indirect=True)
@pytest.mark.parametrize("moment", MOMENTS)
def test_cut(moment: str, erp: PostgresServer | MariaServer, postgres: PostgresServer, tmp_path: Path) -> None:
    words, told = MOMENTS[moment]
    with Proxy(erp.port) as proxy, running(tmp_path, proxy, crm=postgres, erp=erp) as world, world.people():
        for _ in range(3):
            mark = len(world.log())
            cut = proxy.cut_after(*words, told=told)
            world.until("the cut", lambda: cut.done)  # noqa: B023
            world.until("it goes on", lambda: "erp answers again" in world.log()[mark:])  # noqa: B023
            assert doubles(world.places) == []


@pytest.mark.parametrize("erp", KINDS, indirect=True)
def test_silence(erp: PostgresServer | MariaServer, postgres: PostgresServer, tmp_path: Path) -> None:
    with Proxy(erp.port) as proxy, running(tmp_path, proxy, crm=postgres, erp=erp) as world, world.people() as crew:
        for _ in range(2):
            with proxy.silence():
                time.sleep(2)
            done = [one.done for one in crew]
            world.until("all go on", lambda: all(c.done > d + 20 for c, d in zip(crew, done, strict=True)))  # noqa: B023


@pytest.mark.parametrize("erp", KINDS, indirect=True)
def test_a_system_is_down_for_a_while(
    erp: PostgresServer | MariaServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    """The other two go on with each other; what the third should hold, and what people do there, follows."""
    with Proxy(erp.port) as proxy, running(tmp_path, proxy, crm=postgres, erp=erp, shop=postgres) as world:
        others = [world["crm"], world["shop"]]
        with proxy.down():
            world.until("it says so", lambda: "erp does not answer" in world.log())
            with world.people() as crew:
                world.until("everybody edits", lambda: all(one.done > 30 for one in crew))
            before = world["erp"].marks()
            world.until("the others agree", lambda: differences(others) == [])
            assert differences(world.places) != []
            assert world["erp"].marks() == before
            assert world["erp"].changes() > 0


def test_the_log_is_cut_again_and_again(postgres: PostgresServer, tmp_path: Path) -> None:
    """In mid-stream, with whatever was on its way; and it falls silent for a while."""
    with (
        Proxy(postgres.port) as proxy,
        running(tmp_path, proxy, "log", crm=postgres, erp=postgres) as world,
        world.people() as crew,
    ):
        for _ in range(3):
            mark, done = len(world.log()), [one.done for one in crew]
            with proxy.down():
                world.until("it says so", lambda: "erp does not answer" in world.log()[mark:])  # noqa: B023
            world.until("it goes on", lambda: "erp answers again" in world.log()[mark:])  # noqa: B023
            world.until("all go on", lambda: all(c.done > d + 20 for c, d in zip(crew, done, strict=True)))  # noqa: B023
        with proxy.silence():
            time.sleep(2)
