"""Records that are created by condition, the real process on SQLite; the oracle is SQL of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from config.errors import DONE, LOOK, USAGE
from tests.integration.pair import Pair

ENTITY = "entities/deal.toml"
DEAL = """\
[deal]
match = [["name"]]
create = { crm = false, erp = "won and amount > 100" }
delete = "propagate"

[deal.crm]
table = "deals"

[deal.erp]
table = "sale"

[deal.fields]
name = { crm = "name", erp = "title" }
amount = { crm = "amount", erp = "total" }
won = { crm = "won", type = "bool" }
"""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path) as pair:
        (pair.folder / "entities/customer.toml").unlink()
        pair.write(ENTITY, DEAL)
        pair.crm(
            "CREATE TABLE deals (id INTEGER PRIMARY KEY, name TEXT, amount DECIMAL(10, 2), won INTEGER);"
            "INSERT INTO deals VALUES (1, 'open', 500, 0), (2, 'small', 50, 1), (3, 'big', 500, 1),"
            "(4, 'blank', 500, NULL)"
        )
        pair.erp("CREATE TABLE sale (id INTEGER PRIMARY KEY, title TEXT, total DECIMAL(10, 2))")
        yield pair


def sales(pair: Pair) -> list[tuple[str, int]]:
    return pair.erp("SELECT title, total FROM sale ORDER BY 1")


def test_from_the_plan_to_the_last_record(pair: Pair) -> None:
    plan = pair.accord("plan", "--json", exits=LOOK).json["data"]["entities"]["deal"]
    assert plan["create"] == {"erp": 1} and plan["withheld"] == {"erp": 3}
    said = pair.accord("plan", exits=LOOK).out
    assert "withhold" in said and "won is false 1" in said and "amount > 100 is false 1" in said
    pair.accord("prepare", exits=DONE)
    pair.accord("plan", "--accept", exits=DONE)
    pair.accord("run", "--once", exits=DONE)
    assert sales(pair) == [("big", 500)]
    assert "Nothing would change." in pair.accord("plan", exits=DONE).out
    pair.crm("UPDATE deals SET won = 1 WHERE id IN (1, 4); UPDATE deals SET won = 0 WHERE id = 3")
    pair.accord("run", "--once", exits=DONE)
    assert sales(pair) == [("big", 500), ("blank", 500), ("open", 500)]
    pair.crm("UPDATE deals SET amount = 70, won = 0 WHERE id = 1")
    pair.accord("run", "--once", exits=DONE)
    assert sales(pair) == [("big", 500), ("blank", 500), ("open", 70)]


def test_explain_and_verify_say_why_it_is_not_there(pair: Pair) -> None:
    pair.edit(ENTITY, 'match = [["name"]]', 'match = [["name"]]\nfirst_contact = "auto"')
    pair.accord("prepare", exits=DONE)
    pair.accord("run", "--once", exits=DONE)
    assert "erp: not there. create: won is false." in pair.accord("explain", "deal", "crm:1", exits=LOOK).out
    assert "create: amount > 100 is false." in pair.accord("explain", "deal", "crm:2", exits=LOOK).out
    assert "create: won is empty." in pair.accord("explain", "deal", "crm:4", exits=LOOK).out
    known = pair.accord("verify", "--json", exits=DONE).json["data"]["entities"]["deal"]["known"]
    assert known == {"not created, by its condition": 3}


def test_another_condition_reaches_what_was_left_out(pair: Pair) -> None:
    pair.edit(ENTITY, 'match = [["name"]]', 'match = [["name"]]\nfirst_contact = "auto"')
    pair.accord("prepare", exits=DONE)
    pair.accord("run", "--once", exits=DONE)
    pair.edit(ENTITY, "won and amount > 100", "won")
    assert pair.accord("plan", "--json", exits=LOOK).json["data"]["entities"]["deal"]["create"] == {"erp": 1}
    pair.accord("run", "--once", exits=DONE)
    pair.accord("run", "--once", exits=DONE)
    assert sales(pair) == [("big", 500), ("small", 50)]


def test_a_condition_that_cannot_be_said_goes_to_review(pair: Pair) -> None:
    pair.edit(ENTITY, 'match = [["name"]]', 'match = [["name"]]\nfirst_contact = "auto"')
    pair.edit(ENTITY, "won and amount > 100", "won and 1000 / (amount - 50) > 1")
    pair.accord("prepare", exits=DONE)
    pair.accord("run", "--once", exits=LOOK)
    assert sales(pair) == [("big", 500)]
    (item,) = pair.accord("review", "--json").json["data"]["items"]
    assert "divided by zero" in item["message"] and item["system"] == "erp"
    pair.crm("UPDATE deals SET amount = 51 WHERE id = 2")
    pair.accord("run", "--once", exits=DONE)
    assert sales(pair) == [("big", 500), ("small", 51)]


def test_check_knows_the_types_of_the_columns(pair: Pair) -> None:
    """The file alone does not say what amount is; the tables do."""
    pair.edit(ENTITY, "won and amount > 100", "won and amount > 'much'")
    done = pair.accord("check", exits=USAGE)
    said = "deal.create.erp: column 18: a number cannot be compared with text."
    assert f"entities/deal.toml:{pair.line(ENTITY, 'create')}: {said}" in done.all
    pair.edit(ENTITY, "won and amount > 'much'", "wno")
    assert 'no field is called "wno". Did you mean "won"?' in pair.accord("run", exits=USAGE).all
