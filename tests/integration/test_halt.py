"""A system that must not go on, in the real process: the others go on, `status` says why, and a repair ends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.errors import DONE, LOOK
from tests.integration.documented import differs, examples
from tests.integration.pair import AGENT, CUSTOMER, Pair

SHOP = "CREATE TABLE client (id INTEGER PRIMARY KEY, cname TEXT, mail TEXT, tel TEXT);"
RENAME = "ALTER TABLE {} RENAME TO {};"


class Three(Pair):
    """A third system beside the two."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.write("accord.toml", AGENT + '\n[systems.shop]\nurl = "sqlite:shop.db"\n')
        entity = CUSTOMER.replace('"propagate" }', '"propagate", shop = "propagate" }')
        entity = entity.replace("[customer.fields]", '[customer.shop]\ntable = "client"\n\n[customer.fields]')
        for own, theirs in (("pname", "cname"), ("mail", "mail"), ("tel", "tel")):
            entity = entity.replace(f'erp = "{own}"', f'erp = "{own}", shop = "{theirs}"')
        self.write("entities/customer.toml", entity)
        self.shop(SHOP)

    def shop(self, text: str, *parameters: Any) -> list[Any]:
        return self.sql("shop.db", text, *parameters)

    def phones(self) -> list[str]:
        """Of one customer, in all systems."""
        return [
            self.crm("SELECT phone FROM accounts WHERE email = 'i@acme'")[0][0],
            self.erp("SELECT tel FROM party WHERE mail = 'i@acme'")[0][0],
            self.shop("SELECT tel FROM client WHERE mail = 'i@acme'")[0][0],
        ]


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Three]:
    with Three(tmp_path) as three:
        three.accord("prepare", exits=DONE)
        three.accord("run", "--once", exits=DONE)
        yield three


def test_one_system_is_halted_and_goes_on_when_it_is_repaired(three: Three) -> None:
    three.start()
    three.until("it runs", lambda: "runs as" in three.log())
    three.shop(RENAME.format("accord_changes", "gone"))
    three.until("it says so", lambda: "shop is halted" in three.log())
    three.crm("UPDATE accounts SET phone = '99' WHERE email = 'i@acme'")
    three.until("the others go on", lambda: three.phones() == ["99", "99", "1"])
    status = three.accord("status", exits=LOOK).out
    assert "shop is halted since" in status
    assert "accord prepare" in status
    assert "waits for shop (halted): 1 record" in status
    data = three.accord("status", "--json", exits=LOOK).json["data"]
    shown = examples("status")[1]
    assert differs(shown | {"halted": {"shop": shown["halted"]["erp"]}}, data["agent"], "agent") == ""
    assert three.log().count("shop is halted") == 1
    three.shop(RENAME.format("gone", "accord_changes"))
    three.shop("UPDATE client SET cname = 'Dog & Co' WHERE mail = 'i@dog'")
    three.crm("UPDATE accounts SET name = 'Dog Ltd' WHERE email = 'i@dog'")
    three.accord("review", "retry", "--all", exits=DONE)
    three.until("it goes on", lambda: "shop goes on." in three.log() and three.phones() == ["99"] * 3)
    three.until(
        "its own edits are seen", lambda: three.shop("SELECT cname FROM client WHERE mail = 'i@dog'") == [("Dog Ltd",)]
    )
    assert three.stop() == DONE
    three.accord("verify", exits=DONE)


def test_once_settles_the_others_and_says_what_is_halted(three: Three) -> None:
    three.shop("UPDATE accord_fence SET round = 0;")
    three.crm("UPDATE accounts SET phone = '99' WHERE email = 'i@acme'")
    done = three.accord("run", "--once", exits=LOOK)
    assert "shop was restored from a backup" in done.err
    assert three.phones() == ["99", "99", "1"]
