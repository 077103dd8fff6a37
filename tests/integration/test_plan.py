"""`accord plan`: says what a run would do, and writes nothing anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.pair import Pair
from tests.servers import PASSWORD, PostgresServer


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path) as pair:
        pair.edit("entities/customer.toml", 'first_contact = "auto"\n', "")
        yield pair


def test_it_works_before_anything_is_prepared_and_leaves_no_trace(pair: Pair) -> None:
    """Exit 2, the counts, and not a byte written: neither in the databases nor beside the configuration."""
    before, files = pair.dump(), sorted(p.name for p in pair.folder.iterdir())
    done = pair.accord("plan", "--json", exits=2)
    plan = done.json["data"]["entities"]["customer"]
    assert plan["first_contact"] == "held"
    assert sum(plan["link"].values()) == 1
    assert (plan["create"], plan["update"]) == ({"crm": 1, "erp": 1}, {})
    assert pair.dump() == before
    assert sorted(p.name for p in pair.folder.iterdir()) == files


def test_a_run_does_what_was_planned(pair: Pair) -> None:
    """Accepting writes the acceptance only; the run creates as many rows as were shown; then nothing is left."""
    pair.accord("prepare", exits=0)
    assert pair.accord("run", "--once", exits=2)
    before = pair.dump()
    shown = pair.accord("plan", "--accept", "--json", exits=0).json["data"]
    assert shown["accepted"] == ["customer"]
    assert pair.dump() == before
    pair.accord("run", "--once", exits=0)
    assert pair.crm("SELECT count(*) FROM accounts") == [(2 + shown["entities"]["customer"]["create"]["crm"],)]
    assert pair.erp("SELECT count(*) FROM party") == [(2 + shown["entities"]["customer"]["create"]["erp"],)]
    assert "Nothing would change." in pair.accord("plan", exits=0).out


def test_changes_of_a_live_pair_are_shown_with_their_fields(pair: Pair) -> None:
    """An update, a creation, a delete and an override, while the agent is not running."""
    pair.accord("prepare", exits=0)
    pair.accord("plan", "--accept", exits=0)
    pair.accord("run", "--once", exits=0)
    pair.crm(
        "UPDATE accounts SET phone = '99' WHERE id = 'a1'; INSERT INTO accounts VALUES ('n', 'N', 'i@n', '5', NULL)"
    )
    pair.erp("UPDATE party SET pname = 'Mine' WHERE mail = 'i@acme'; DELETE FROM party WHERE mail = 'i@dog'")
    before = pair.dump()
    plan = pair.accord("plan", "--json", exits=2).json["data"]["entities"]["customer"]
    assert plan["create"] == {"erp": 1} and plan["delete"] == {"crm": 1}
    assert {(f["system"], f["field"]) for f in plan["fields"]} == {("erp", "phone"), ("erp", "name")}
    assert plan["lost"] == {"override": 1}
    assert pair.dump() == before


def test_the_running_agent_takes_an_acceptance(pair: Pair) -> None:
    """`plan --accept` beside `run`: the agent goes on by itself."""
    pair.accord("prepare", exits=0)
    pair.start()
    pair.until("the agent runs", lambda: "runs as" in pair.log())
    pair.accord("plan", "--accept", exits=0)
    pair.until("the first contact", lambda: pair.erp("SELECT 1 FROM party WHERE mail = 'i@bolt'"))
    assert pair.stop() == 0


def test_only_and_a_wrong_name(pair: Pair) -> None:
    assert "customer" in pair.accord("plan", "--only", "customer", exits=2).out
    assert 'Did you mean "customer"?' in pair.accord("plan", "--only", "custmer", exits=3).err


def test_an_account_that_may_only_read(pair: Pair, postgres: PostgresServer) -> None:
    """PostgreSQL, SELECT only, nothing prepared: the plan comes, and the server has counted no write."""
    database = postgres.create_database()
    reader = postgres.create_user("reader_of_plans")
    with postgres.connect(database) as admin:
        admin.execute(
            "CREATE TABLE party (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, pname text, mail text, tel text)"
        )
        admin.execute("INSERT INTO party (pname, mail, tel) VALUES ('Acme', 'i@acme', '1'), ('Dog', 'i@dog', '9')")
        admin.execute(f"GRANT SELECT ON party TO {reader}")
        admin.commit()
        (pair.folder / "secret").write_text(PASSWORD)
        (pair.folder / "secret").chmod(0o600)
        url = postgres.url(database, reader)
        pair.edit("accord.toml", 'url = "sqlite:erp.db"', f'url = "{url}"\npassword = "file:secret"')
        written = (
            "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_all_tables WHERE schemaname <> 'pg_catalog'"
        )
        objects = "SELECT count(*) FROM pg_class"
        before = admin.execute(f"SELECT ({written}), ({objects})").fetchall()
        plan = pair.accord("plan", "--json", exits=2).json["data"]["entities"]["customer"]
        assert sum(plan["link"].values()) == 1 and plan["create"] == {"crm": 1, "erp": 1}
        admin.commit()
        assert admin.execute(f"SELECT ({written}), ({objects})").fetchall() == before
