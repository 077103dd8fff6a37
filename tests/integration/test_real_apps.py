"""A real ERP (Tryton on PostgreSQL) and a real CRM (Django-CRM on MariaDB), with the agent's process between them.

People act through the applications, and what counts is what the applications themselves show afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.apps.world import World

pytestmark = [
    pytest.mark.xdist_group("real_apps"),  # they share one world, which takes seconds to start
    pytest.mark.timeout(1800),  # the first time, the applications are installed
]

MAPPING = Path(__file__).parent / "real_apps"
BOTH, ONLY_CRM, OWN = "Known To Both AG", "Known To The CRM KG", "Our Company GmbH"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Prepared, accepted and running. Each side knew customers before."""
    with World(MAPPING, tmp_path_factory.mktemp("real-apps")) as world:
        world.crm.company(BOTH)
        world.erp.party(BOTH)
        world.crm.company(ONLY_CRM)
        world.accord("check")
        world.accord("prepare")
        world.accord("plan", exits=2)
        assert len(world.crm.dump()) == 2, "a plan writes nothing"
        world.accord("plan", "--accept")
        world.start()
        yield world


def companies(world: World, name: str) -> list[int]:
    """Ids of the companies that the CRM shows under this name."""
    return [id for id, row in world.crm.dump().items() if row["name"] == name and not row["disqualified"]]


def parties(world: World, name: str) -> list[int]:
    """Ids of the parties that the ERP shows under this name: active ones."""
    return [id for id, row in world.erp.dump().items() if row["name"] == name]


def pair(world: World, name: str) -> tuple[int, int]:
    """Company and party of a customer whom both sides show once."""

    def found() -> tuple[int, int] | None:
        crm, erp = companies(world, name), parties(world, name)
        return (crm[0], erp[0]) if (len(crm), len(erp)) == (1, 1) else None

    ids: tuple[int, int] = world.eventually(f"one {name} on each side", found)
    return ids


def new_customer(world: World, name: str) -> tuple[int, int]:
    """Created in the CRM, and seen on both sides."""
    company = world.crm.company(name)
    ids = pair(world, name)
    assert ids[0] == company
    return ids


def test_first_contact_links_what_both_know_and_creates_the_rest(world: World) -> None:
    for name in (BOTH, ONLY_CRM, OWN):
        pair(world, name)
    assert len(world.crm.dump()) == len(world.erp.dump(everything=True)) == 3
    world.becomes_quiet()


def test_a_company_created_in_the_crm_is_a_valid_visible_party_in_the_erp(world: World) -> None:
    name = "O'Brien & Söhne <Wien> 😀"
    with world.sql_erp() as connection:
        (before,) = connection.execute("SELECT last_value FROM ir_sequence_1").fetchone()
    _, party = new_customer(world, name)
    row = world.erp.dump()[party]
    assert row["active"] is True
    assert row["by"] == "accord"
    with world.sql_erp() as connection:
        (after,) = connection.execute("SELECT last_value FROM ir_sequence_1").fetchone()
        age = "SELECT extract(epoch FROM now() AT TIME ZONE 'UTC' - create_date) FROM party_party WHERE id = %s"
        (seconds,) = connection.execute(age, (party,)).fetchone()
    assert before < int(row["code"]) <= after, "the code comes from the ERP's own sequence"
    assert 0 <= seconds < 600, "create_date is now, in UTC as Tryton writes it"
    assert world.erp.find("Söhne") == [party], "a user finds it"
    codes = [row["code"] for row in world.erp.dump(everything=True).values()]
    codes.append(world.erp.party("The ERP's Next Party")["code"])
    assert len(set(codes)) == len(codes), "the ERP goes on with its sequence undisturbed"
    world.becomes_quiet()


def test_a_party_created_in_the_erp_is_a_company_in_the_crm(world: World) -> None:
    world.erp.party("Born In The ERP")
    company, _ = pair(world, "Born In The ERP")
    world.crm.set(company, email="first@example.com", city_name="Graz")  # the CRM validates the whole company
    world.becomes_quiet()
    assert world.crm.dump()[company]["city_name"] == "Graz"


def test_renamed_in_the_erp_and_back(world: World) -> None:
    company, party = new_customer(world, "Old Name")
    world.erp.rename(party, "New Name")
    assert pair(world, "New Name") == (company, party)
    world.crm.rename(company, "Old Name")
    assert pair(world, "Old Name") == (company, party)
    world.crm.rename(company, "OLD NAME ")  # only case and a trailing blank
    assert pair(world, "OLD NAME ") == (company, party)
    world.becomes_quiet()


def test_the_same_name_changed_on_both_sides_at_once(world: World) -> None:
    company, party = new_customer(world, "Contested")
    world.becomes_quiet()
    world.pause()
    with ThreadPoolExecutor(2) as both:
        edits = [
            both.submit(world.crm.rename, company, "By Sales"),
            both.submit(world.erp.rename, party, "By Accounts"),
        ]
        for edit in edits:
            edit.result()
    assert (world.crm.dump()[company]["name"], world.erp.dump()[party]["name"]) == ("By Sales", "By Accounts")
    world.resume()
    agreed = world.eventually("one name on both sides", lambda: same_name(world, company, party))
    assert agreed in ("By Sales", "By Accounts")
    lost = ({"By Sales", "By Accounts"} - {agreed}).pop()
    assert lost in world.accord("explain", "customer", f"erp:{party}"), "the name that lost is in the journal"
    world.becomes_quiet()
    assert same_name(world, company, party) == agreed


def test_of_two_changes_that_did_not_see_each_other_the_later_wins(world: World) -> None:
    company, party = new_customer(world, "Contested Again")
    world.becomes_quiet()
    world.pause()
    world.crm.rename(company, "Earlier In The CRM")
    time.sleep(2.5)  # more than the tolerance, so that order decides and not the order of the systems
    world.erp.rename(party, "Later In The ERP")
    world.resume()
    assert pair(world, "Later In The ERP") == (company, party)
    world.becomes_quiet()


def same_name(world: World, company: int, party: int) -> str | None:
    crm, erp = world.crm.dump()[company]["name"], world.erp.dump()[party]["name"]
    return str(crm) if crm == erp else None


def test_500_parties_of_one_transaction_with_one_timestamp(world: World) -> None:
    names = [f"Imported {i:03}" for i in range(500)]
    known = set(world.crm.dump())
    ids = world.erp.many(names)
    rows = world.erp.dump()
    assert len({rows[id]["create_date"] for id in ids}) == 1

    def arrived() -> bool:
        return len(world.crm.dump()) >= len(known) + 500

    world.eventually("500 companies in the CRM", arrived)
    world.becomes_quiet()
    new = {id: row for id, row in world.crm.dump().items() if id not in known}
    assert sorted(row["name"] for row in new.values()) == names, "each once, and none but these"
    assert not any(row["disqualified"] for row in new.values())
    assert sorted(row["name"] for id, row in world.erp.dump().items() if id in ids) == names
    assert sum(row["name"].startswith("Imported") for row in world.erp.dump(everything=True).values()) == 500


def test_deleted_in_the_crm_is_deactivated_in_the_erp(world: World) -> None:
    company, party = new_customer(world, "Leaving For Good")
    world.crm.delete(company)
    world.eventually("the party deactivated", lambda: party not in world.erp.dump())
    world.becomes_quiet()
    row = world.erp.dump(everything=True)[party]
    assert (row["name"], row["active"]) == ("Leaving For Good", False)
    assert company not in world.crm.dump()
    assert not companies(world, "Leaving For Good"), "and it does not come back"


def test_deactivated_in_the_erp_is_disqualified_in_the_crm_and_back(world: World) -> None:
    company, party = new_customer(world, "Resting")
    world.erp.deactivate(party)
    world.eventually("the company disqualified", lambda: world.crm.dump()[company]["disqualified"])
    world.becomes_quiet()
    world.erp.reactivate(party)
    assert pair(world, "Resting") == (company, party)
    world.crm.set(company, disqualified=True)
    world.eventually("the party deactivated", lambda: party not in world.erp.dump())
    world.crm.set(company, disqualified=False)
    assert pair(world, "Resting") == (company, party)
    world.becomes_quiet()


def test_deleted_in_the_erp_is_disqualified_in_the_crm(world: World) -> None:
    company, party = new_customer(world, "Merged Away")
    world.erp.delete(party)
    world.eventually("the company disqualified", lambda: world.crm.dump()[company]["disqualified"])
    world.becomes_quiet()
    assert world.crm.dump()[company]["name"] == "Merged Away"
    assert party not in world.erp.dump(everything=True)


def test_in_the_end_both_agree_and_a_restart_writes_nothing(world: World) -> None:
    world.becomes_quiet()
    shown = sorted(row["name"] for row in world.crm.dump().values() if not row["disqualified"])
    assert shown == sorted(row["name"] for row in world.erp.dump().values())
    before = (world.crm.dump(), world.erp.dump(everything=True))
    assert world.stop() == 0, world.said()
    world.accord("run", "--once")
    assert (world.crm.dump(), world.erp.dump(everything=True)) == before, "not even a time stamp moved"
    world.accord("verify")
