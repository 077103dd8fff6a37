"""Databases that are edited, a mapping between them, and the agent's real process, which may be told where to die."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from config.errors import DONE
from tests.crash.judge import differences, judge
from tests.crash.people import People, even
from tests.crash.place import Place
from tests.integration.pair import PATIENCE, Pair
from tests.servers import ADMIN, PASSWORD, MariaServer, PostgresServer

FIELDS = {"customer": ("code", "name", "phone", "note", "points", "vat"), "visit": ("number", "customer", "subject")}
# A customer is known by the crosswalk alone: nobody has a vat, and a blank does not match. So one that is created twice
# stands in the tables twice (I2). A visit is found by its number, which the tables keep unique.
RULES = {
    "customer": 'match = [["vat"]]\ndelete = "propagate"\ndelete_conflict = "update_wins"',
    "visit": 'match = [["number"]]\ndelete = "propagate"\ndelete_conflict = "delete_wins"',
}
EXTRA = {"points": ', conflict = "sum"', "customer": ', ref = "customer"'}


class World(Pair):
    """A folder for the agent, and a database in each of these servers, in which people have been at work for long."""

    def __init__(
        self, folder: Path, servers: Mapping[str, PostgresServer | MariaServer], capture: str = "trigger", **ports: int
    ) -> None:
        """`capture`: of all systems that are able to. `ports`: where the agent finds a server, if not where it is (a
        proxy)."""
        self.folder, self.capture = folder, capture
        self.running: subprocess.Popen[str] | None = None
        self.environ: dict[str, str] = {"SECRET": PASSWORD}
        self.places = [Place(system, server, server.create_database()) for system, server in servers.items()]
        self.seeds = 0
        (folder / "entities").mkdir()
        self.configure(ports)
        for place in self.places:
            place.create()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        for place in self.places:
            if place.server.running:
                place.server.drop_database(place.database)

    def __getitem__(self, system: str) -> Place:
        return next(place for place in self.places if place.system == system)

    @property
    def state(self) -> Path:
        return self.folder / "state.db"

    # --- the mapping -------------------------------------------------------------------------------------------------

    def configure(self, ports: Mapping[str, int]) -> None:
        text = '[agent]\nname = "acme"\npoll = "30ms"\nbatch = 40\n'
        for place in self.places:
            url = place.server.url(place.database, ADMIN)
            url = url.replace(f":{place.server.port}/", f":{ports.get(place.system, place.server.port)}/")
            text += f'\n[systems.{place.system}]\nurl = "{url}"\npassword = "env:SECRET"\n'
            text += f'capture = "{self.capture}"\n'
        self.write("accord.toml", text)
        for entity in FIELDS:
            self.write(f"entities/{'ab'[entity == 'visit']}_{entity}.toml", self.entity(entity))

    def entity(self, entity: str) -> str:
        text = f'[{entity}]\nfirst_contact = "auto"\n{RULES[entity]}\n'
        for place in self.places:
            text += f'\n[{entity}.{place.system}]\ntable = "{entity}"\n'
            text += 'new_key = "uuid"\n' if place.uuid_keys else ""
        text += f"\n[{entity}.fields]\n"
        for field in FIELDS[entity]:
            columns = ", ".join(f'{p.system} = "{p.column(field)}"' for p in self.places)
            text += f"{field} = {{ {columns}{EXTRA.get(field, '')} }}\n"
        return text

    # --- people ------------------------------------------------------------------------------------------------------

    def fill(self, customers: int, visits: int) -> None:
        """What was there before Accord came."""
        for place in self.places:
            people = People(place, 0)
            with closing(place.connect()) as connection, place.transaction(connection) as cursor:
                for _ in range(customers):
                    people.add_customer(cursor)
                for _ in range(visits):
                    people.add_visit(cursor)

    @contextmanager
    def people(
        self, pause: float = 0.01, each: int = 1, actions: Sequence[str] | None = None, at: Sequence[str] = ()
    ) -> Iterator[list[People]]:
        """People at work, in all systems or in these."""
        with ExitStack() as stack:
            crew = []
            for place in self.places:
                for _ in range(each if not at or place.system in at else 0):
                    self.seeds += 1
                    one = People(place, self.seeds, pause, actions)
                    theirs = [v for p in self.places if p is not place for v in p.visits()]
                    one.twins = [(v[1], v[2]) for v in theirs if not even(v[1])]  # even ones may be deleted
                    crew.append(stack.enter_context(one))
            yield crew

    # --- the agent ---------------------------------------------------------------------------------------------------

    def place(self) -> dict[str, Any]:
        place = super().place()
        return {**place, "env": {**place["env"], **self.environ}}

    def dies(self, point: str, nth: int = 1) -> None:
        """The agent runs until it gets there, and is killed."""
        self.environ["ACCORD_CRASH_AT"] = f"{point}:{nth}"
        try:
            agent = self.start()
        finally:
            del self.environ["ACCORD_CRASH_AT"]
        code = agent.wait(PATIENCE)
        assert code == -signal.SIGKILL, f"exit {code}, not killed at {point}\n{self.log()}"

    def agrees(self) -> None:
        """Wait until all systems hold the same."""
        left: list[str] = []

        def agree() -> bool:
            left[:] = differences(self.places)
            return not left

        try:
            self.until("all agree", agree)
        except AssertionError as error:
            raise AssertionError("\n".join([*left[:20], str(error)])) from None

    def settles(self) -> None:
        """The agent comes again, without people about, and all is well afterwards."""
        self.accord("run", "--once", exits=DONE)
        judge(self.places, self.state)

    def stays_quiet(self) -> None:
        """Nobody edits: a run writes nothing (I7)."""
        before = [place.marks() for place in self.places]
        done = self.accord("run", "--once", "--json", exits=DONE)
        assert [json.loads(line)["data"]["settled"]["rounds"] for line in done.out.splitlines()] == [0]
        assert [place.marks() for place in self.places] == before
