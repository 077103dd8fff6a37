"""`accord verify`, the real process; what it must find is put there, and judged, by SQL of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.errors import DONE, LOOK, UNREACHABLE, USAGE
from tests.integration.pair import Pair

ENTITY = "entities/customer.toml"
PHONE = 'phone = { crm = "phone", erp = "tel" }'


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path) as pair:
        pair.accord("prepare", exits=DONE)
        pair.accord("run", "--once", exits=DONE)
        yield pair


def verify(pair: Pair, *words: str, exits: int) -> dict[str, Any]:
    data: dict[str, Any] = pair.accord("verify", "--json", *words, exits=exits).json["data"]
    return data["entities"]["customer"]  # type: ignore[no-any-return]


def both(pair: Pair) -> list[list[Any]]:
    """All customers of both, by their mail: the oracle."""
    return [
        pair.crm("SELECT email, name, phone FROM accounts ORDER BY 1"),
        pair.erp("SELECT mail, pname, tel FROM party ORDER BY 1"),
    ]


def test_two_that_agree(pair: Pair) -> None:
    crm, erp = both(pair)
    assert crm == erp
    found = verify(pair, exits=DONE)
    assert (found["agree"], found["rows"]) == (len(crm), {"crm": len(crm), "erp": len(erp)})
    assert (found["differ"], found["only"], found["known"]) == (0, {}, {})
    assert "All agree." in pair.accord("verify", exits=DONE).out


def test_a_difference_is_named_with_what_each_holds(pair: Pair) -> None:
    ((key,),) = pair.erp("SELECT id FROM party WHERE mail = 'i@acme'")
    pair.erp("UPDATE party SET tel = '777' WHERE mail = ?", "i@acme")
    found = verify(pair, exits=LOOK)
    assert (found["differ"], found["agree"], found["fields"]) == (1, len(both(pair)[0]) - 1, {"phone": 1})
    (sample,) = found["samples"]["differs"]
    assert sample["record"] == f"crm:a1 = erp:{key}"
    assert sample["fields"] == {"phone": {"crm": "1", "erp": "777"}}
    text = pair.accord("verify", exits=LOOK).out
    assert f"crm:a1 = erp:{key} phone: crm 1, erp 777" in text
    assert "do not agree" in text


def test_a_trailing_blank_or_another_case_is_a_difference(pair: Pair) -> None:
    pair.erp("UPDATE party SET tel = '1 ' WHERE mail = ?", "i@acme")
    pair.erp("UPDATE party SET pname = 'BOLT' WHERE mail = ?", "i@bolt")
    assert verify(pair, exits=LOOK)["fields"] == {"phone": 1, "name": 1}


def test_empty_and_null_are_the_same(pair: Pair) -> None:
    pair.crm("UPDATE accounts SET phone = NULL WHERE id = ?", "a1")
    pair.erp("UPDATE party SET tel = '' WHERE mail = ?", "i@acme")
    assert verify(pair, exits=DONE)["differ"] == 0


def test_rows_that_only_one_of_them_has(pair: Pair) -> None:
    ((gone,),) = pair.erp("SELECT id FROM party WHERE mail = 'i@bolt'")
    pair.erp("INSERT INTO party (pname, mail) VALUES (?, ?)", "Eve", "i@eve")  # first: a key may be used again
    pair.erp("DELETE FROM party WHERE id = ?", gone)
    ((eve,),) = pair.erp("SELECT id FROM party WHERE mail = 'i@eve'")
    found = verify(pair, exits=LOOK)
    assert found["only"] == {"crm": 1, "erp": 1}
    assert {s["record"]: s["note"] for s in found["samples"]["only"]} == {
        "crm:a2": "its row in erp is gone",
        f"erp:{eve}": "it belongs to no record yet",
    }
    assert found["agree"] == 2


def test_a_row_that_is_gone_from_the_first_system(pair: Pair) -> None:
    """It is met in no scan of the first, and its record was left to that scan by the second."""
    ((key,),) = pair.erp("SELECT id FROM party WHERE mail = 'i@acme'")
    pair.crm("DELETE FROM accounts WHERE id = ?", "a1")
    found = verify(pair, exits=LOOK)
    assert found["only"] == {"erp": 1}
    assert [s["record"] for s in found["samples"]["only"]] == [f"erp:{key}"]


def test_gone_from_both_is_no_difference(pair: Pair) -> None:
    pair.crm("DELETE FROM accounts WHERE id = ?", "a1")
    pair.erp("DELETE FROM party WHERE mail = ?", "i@acme")
    found = verify(pair, exits=DONE)
    assert found["agree"] == len(both(pair)[0])


def test_what_is_in_review_is_known_and_the_rest_agrees(pair: Pair) -> None:
    pair.edit(ENTITY, PHONE, 'phone = { crm = "phone", erp = "tel", conflict = "review" }')
    pair.crm("UPDATE accounts SET phone = '100' WHERE id = 'a1'")
    pair.erp("UPDATE party SET tel = '200' WHERE mail = 'i@acme'")
    pair.crm("INSERT INTO accounts VALUES ('a7', 'Acme Two', 'i@acme', '3', NULL)")
    pair.accord("run", "--once", exits=LOOK)
    found = verify(pair, exits=DONE)
    assert (found["differ"], found["only"], found["known"]) == (0, {}, {"in review": 2})
    records = {s["record"]: s for s in found["samples"]["in review"]}
    assert records["crm:a7"]["note"].startswith("duplicate, ")
    ((key,),) = pair.erp("SELECT id FROM party WHERE mail = 'i@acme'")
    assert records[f"crm:a1 = erp:{key}"]["fields"] == {"phone": {"crm": "100", "erp": "200"}}
    assert "But for that, all agree." in pair.accord("verify", exits=DONE).out
    pair.crm("UPDATE accounts SET phone = '9' WHERE id = 'a2'")
    assert verify(pair, exits=LOOK)["differ"] == 1, "a known one hides no other"


def test_an_override_that_is_tolerated(pair: Pair) -> None:
    pair.edit(ENTITY, 'owner = "crm" }', 'owner = "crm", override = "tolerate" }')
    pair.erp("UPDATE party SET pname = 'Acme Intl' WHERE mail = 'i@acme'")
    assert verify(pair, exits=LOOK)["differ"] == 1, "nobody has tolerated it yet"
    pair.accord("run", "--once", exits=DONE)
    assert pair.erp("SELECT pname FROM party WHERE mail = 'i@acme'") == [("Acme Intl",)]
    assert verify(pair, exits=DONE)["known"] == {"tolerated": 1}


def test_a_trigger_that_rewrites_what_is_stored(pair: Pair) -> None:
    pair.erp(
        "CREATE TRIGGER upper AFTER UPDATE OF tel ON party BEGIN "
        "UPDATE party SET tel = upper(new.tel) WHERE id = new.id; END"
    )
    pair.crm("UPDATE accounts SET phone = 'ext. 5' WHERE id = 'a1'")
    pair.accord("run", "--once", exits=DONE)
    assert pair.erp("SELECT tel FROM party WHERE mail = 'i@acme'") == [("EXT. 5",)]
    assert verify(pair, exits=DONE)["known"] == {"stored in its own way": 1}
    pair.erp("UPDATE party SET tel = 'mine' WHERE mail = 'i@acme'")
    assert verify(pair, exits=LOOK)["differ"] == 1


def test_what_was_refused_is_known(pair: Pair) -> None:
    pair.erp(
        "CREATE TRIGGER no BEFORE UPDATE OF tel ON party WHEN new.tel LIKE '%x%' BEGIN SELECT RAISE(ABORT, 'no x'); END"
    )
    pair.crm("UPDATE accounts SET phone = 'x1' WHERE id = 'a1'")
    pair.accord("run", "--once", exits=LOOK)
    found = verify(pair, exits=DONE)
    assert found["known"] == {"in review": 1}
    assert found["samples"]["in review"][0]["note"].startswith("refused, ")


def test_a_system_that_is_never_written(pair: Pair) -> None:
    pair.edit(ENTITY, 'table = "party"', 'table = "party"\nwrite = false')
    pair.crm("UPDATE accounts SET phone = '42' WHERE id = 'a1'")
    pair.crm("INSERT INTO accounts VALUES ('a8', 'Fox', 'i@fox', '4', NULL)")
    pair.accord("run", "--once")
    assert pair.erp("SELECT tel FROM party WHERE mail = 'i@acme'") == [("1",)]
    assert verify(pair, exits=DONE)["known"] == {"may not be written": 1, "kept in one system only": 1}


def test_a_child_that_waits_for_its_parent(pair: Pair) -> None:
    pair.crm("CREATE TABLE orders (id INTEGER PRIMARY KEY, number TEXT, account TEXT)")
    pair.erp("CREATE TABLE sale (id INTEGER PRIMARY KEY, number TEXT, party INTEGER)")
    tables = '[order.crm]\ntable = "orders"\n[order.erp]\ntable = "sale"\n[order.fields]\n'
    fields = 'number = { crm = "number", erp = "number" }\nbuyer = { crm = "account", erp = "party", ref = "customer" }'
    head = '[order]\nmatch = [["number"]]\nfirst_contact = "auto"\n'
    pair.write("entities/order.toml", f"{head}{tables}{fields}\n")
    pair.accord("prepare", exits=DONE)
    pair.crm("INSERT INTO accounts VALUES ('a7', 'Acme Two', 'i@acme', '3', NULL)")
    pair.crm("INSERT INTO orders VALUES (1, 'O1', 'a1'), (2, 'O2', 'a7')")
    pair.accord("run", "--once", exits=LOOK)
    ((acme,),) = pair.erp("SELECT id FROM party WHERE mail = 'i@acme'")
    assert pair.erp("SELECT number, party FROM sale") == [("O1", acme)]
    orders = pair.accord("verify", "--json", exits=DONE).json["data"]["entities"]["order"]
    assert (orders["agree"], orders["known"]) == (1, {"waits for its parent": 1})
    ((bolt,),) = pair.erp("SELECT id FROM party WHERE mail = 'i@bolt'")
    pair.erp("UPDATE sale SET party = ?", bolt)
    orders = pair.accord("verify", "--json", "--only", "order", exits=LOOK).json["data"]["entities"]
    assert list(orders) == ["order"]
    assert orders["order"]["samples"]["differs"][0]["fields"] == {"buyer": {"crm": "crm:a1", "erp": "crm:a2"}}


def test_archived_rows_count_as_gone(tmp_path: Path) -> None:
    with Pair(tmp_path) as pair:
        pair.crm("ALTER TABLE accounts ADD COLUMN deleted INTEGER DEFAULT 0")
        pair.edit(ENTITY, 'new_key = "uuid"', 'new_key = "uuid"\narchive = { deleted = 1 }')
        pair.edit(ENTITY, 'delete = { crm = "propagate", erp = "propagate" }', 'delete = { crm = "archive" }')
        pair.accord("prepare", exits=DONE)
        pair.accord("run", "--once", exits=DONE)
        pair.erp("DELETE FROM party WHERE mail = 'i@acme'")
        pair.accord("run", "--once", exits=DONE)
        assert pair.crm("SELECT deleted FROM accounts WHERE id = 'a1'") == [(1,)]
        found = verify(pair, exits=DONE)
        assert found["rows"] == {"crm": 2, "erp": 2}
        pair.crm("UPDATE accounts SET deleted = 0 WHERE id = 'a1'")
        assert verify(pair, exits=LOOK)["only"] == {"crm": 1}


def test_a_first_contact_that_is_held_is_not_compared(tmp_path: Path) -> None:
    with Pair(tmp_path) as pair:
        pair.edit(ENTITY, 'first_contact = "auto"\n', "")
        before = pair.dump()
        found = verify(pair, exits=LOOK)
        assert (found["first_contact"], found["rows"], found["agree"]) == ("held", {"crm": 2, "erp": 2}, 0)
        assert "accord plan --accept" in pair.accord("verify", exits=LOOK).out
        assert pair.dump() == before
        assert not (tmp_path / "state.db").exists()


def test_samples_are_limited_unless_all_are_asked_for(pair: Pair) -> None:
    pair.crm(
        "WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 2500) "
        "INSERT INTO accounts SELECT 'k' || i, 'Name ' || i, 'm' || i, i, NULL FROM n"
    )
    pair.accord("run", "--once", exits=DONE)
    assert verify(pair, exits=DONE)["agree"] == 2503
    pair.crm("UPDATE accounts SET phone = 'other' WHERE id LIKE 'k%' AND CAST(phone AS INTEGER) % 2 = 0")
    found = verify(pair, exits=LOOK)
    assert (found["differ"], found["agree"], len(found["samples"]["differs"])) == (1250, 1253, 5)
    found = verify(pair, "--all", exits=LOOK)
    wrong = {f"crm:{key}" for (key,) in pair.crm("SELECT id FROM accounts WHERE phone = 'other'")}
    assert {s["record"].split(" = ")[0] for s in found["samples"]["differs"]} == wrong
    assert "1,245 more (--all)" in pair.accord("verify", exits=LOOK).out


def test_while_the_agent_runs_and_people_edit(pair: Pair) -> None:
    """What is on its way while it scans is read again, not reported."""
    pair.start()
    pair.until("it runs", lambda: "runs as" in pair.log())
    for n in range(5):
        pair.crm("UPDATE accounts SET phone = ? WHERE id = 'a1'", f"n{n}")
        assert verify(pair, exits=DONE)["agree"] == 3
    assert pair.stop() == DONE
    assert both(pair)[0] == both(pair)[1]


def test_nothing_is_written(pair: Pair) -> None:
    pair.erp("UPDATE party SET tel = '777' WHERE mail = ?", "i@acme")
    before, state = pair.dump(), (pair.folder / "state.db").read_bytes()
    pair.accord("verify", exits=LOOK)
    assert pair.dump() == before
    assert (pair.folder / "state.db").read_bytes() == state


def test_what_is_asked_wrongly(pair: Pair) -> None:
    done = pair.accord("verify", "--only", "custmer", exits=USAGE)
    assert 'Did you mean "customer"?' in done.err
    (pair.folder / "erp.db").rename(pair.folder / "away.db")
    done = pair.accord("verify", exits=UNREACHABLE)
    assert "erp" in done.err
