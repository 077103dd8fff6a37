"""`accord review`, the real process, with and without a running agent; judged by SQL of the test's own."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from config.errors import DONE, LOOK, TAKEN, USAGE
from state.lock import StateLock
from tests.integration.pair import Pair

ENTITY = "entities/customer.toml"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path) as pair:
        pair.edit(ENTITY, '{ crm = "phone", erp = "tel" }', '{ crm = "phone", erp = "tel", conflict = "review" }')
        pair.edit(ENTITY, 'delete = { crm = "propagate", erp = "propagate" }\n', "")
        pair.accord("prepare", exits=DONE)
        pair.accord("run", "--once", exits=DONE)
        yield pair


def phones(pair: Pair, mail: str = "i@acme") -> tuple[Any, Any]:
    ((crm,),) = pair.crm("SELECT phone FROM accounts WHERE email = ?", mail)
    ((erp,),) = pair.erp("SELECT tel FROM party WHERE mail = ?", mail)
    return crm, erp


def items(pair: Pair, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pair.accord("review", "--json", *words).json["data"]["items"]
    return found


def clash(pair: Pair, crm: str = "100", erp: str = "200") -> str:
    """The same field changed on both sides; the question's id."""
    pair.crm("UPDATE accounts SET phone = ? WHERE id = 'a1'", crm)
    pair.erp("UPDATE party SET tel = ? WHERE mail = 'i@acme'", erp)
    pair.accord("run", "--once", exits=LOOK)
    assert phones(pair) == (crm, erp), "nothing of it is written before somebody has decided"
    (item,) = items(pair)
    return str(item["id"])


def test_nothing_waits(pair: Pair) -> None:
    assert "Nothing waits for a person." in pair.accord("review", exits=DONE).out
    assert items(pair) == []


def test_a_conflict_is_listed_shown_and_resolved(pair: Pair) -> None:
    id = clash(pair)
    ((party,),) = pair.erp("SELECT id FROM party WHERE mail = 'i@acme'")
    listed = pair.accord("review", exits=LOOK).out
    assert f"{id}  crm:a1 = erp:{party}" in listed
    assert "conflict, customer: 1 question" in listed
    shown = pair.accord("review", "show", id, exits=LOOK).out
    assert "crm     100" in shown
    assert "erp     200" in shown
    assert "agreed  1" in shown
    assert f"accord review resolve {id} --take crm|erp" in shown
    done = pair.accord("review", "resolve", id, "--take", "erp", exits=DONE)
    assert "No agent runs; the next `accord run` carries it out." in done.out
    assert "erp was taken" in pair.accord("review", "show", id, exits=LOOK).out
    pair.accord("run", "--once", exits=DONE)
    assert phones(pair) == ("200", "200")
    assert items(pair) == []
    notes = pair.sql("state.db", "SELECT rule, system, note FROM journal WHERE action = 'review'")
    assert [(rule, system) for rule, system, _ in notes] == [("person took erp", "erp")]
    assert f"conflict {id}, by " in notes[0][2]
    lost = pair.sql("state.db", "SELECT system, rule FROM journal WHERE action = 'person'")
    assert lost == [("crm", "person took erp")], "the loser's value is in the journal (I5)"


def test_the_running_agent_carries_it_out(pair: Pair) -> None:
    id = clash(pair)
    pair.start()
    pair.until("it listens", (pair.folder / "state.db.sock").exists)
    done = pair.accord("review", "resolve", id, "--take", "crm", "--json", exits=DONE)
    assert done.json["data"] == {"id": id, "take": "crm", "agent_runs": True}
    assert done.json["command"] == "review resolve"
    pair.until("it is written", lambda: phones(pair) == ("100", "100"))
    pair.until("it is closed", lambda: items(pair) == [])
    done = pair.accord("review", "resolve", id, "--take", "crm", exits=USAGE)
    assert f'there is no open question "{id}"' in done.err
    assert pair.stop() == DONE


def test_a_choice_made_on_values_that_have_changed_opens_again(pair: Pair) -> None:
    id = clash(pair)
    pair.accord("review", "resolve", id, "--take", "erp", exits=DONE)
    pair.erp("UPDATE party SET tel = '300' WHERE mail = 'i@acme'")
    pair.accord("run", "--once", exits=LOOK)
    assert phones(pair) == ("100", "300")
    (item,) = items(pair)
    assert (item["id"], item["chosen"]) == (id, None)
    assert item["detail"]["values"] == {"crm": ["100"], "erp": ["300"]}


@pytest.mark.parametrize("take", ["crm", "erp"])
def test_a_delete_is_followed_or_undone(pair: Pair, take: str) -> None:
    pair.crm("DELETE FROM accounts WHERE id = 'a1'")
    pair.accord("run", "--once", exits=LOOK)
    (item,) = items(pair)
    assert (item["kind"], sorted(item["take"])) == ("delete", ["crm", "erp"])
    assert pair.erp("SELECT count(*) FROM party WHERE mail = 'i@acme'") == [(1,)]
    pair.accord("review", "resolve", str(item["id"]), "--take", take, exits=DONE)
    pair.accord("run", "--once", exits=DONE)
    left = 0 if take == "crm" else 1
    assert pair.crm("SELECT count(*) FROM accounts WHERE email = 'i@acme'") == [(left,)]
    assert pair.erp("SELECT count(*) FROM party WHERE mail = 'i@acme'") == [(left,)]
    assert items(pair) == []


def test_what_cannot_be_resolved_says_what_to_do_instead(pair: Pair) -> None:
    pair.crm("INSERT INTO accounts VALUES ('a7', 'Acme Two', 'i@acme', '3', NULL)")
    pair.accord("run", "--once", exits=LOOK)
    (item,) = items(pair)
    assert (item["kind"], item["record"], item["take"]) == ("duplicate", "crm:a7", [])
    done = pair.accord("review", "resolve", str(item["id"]), "--take", "crm", exits=USAGE)
    assert "has no side to take" in done.err
    assert "Merge or correct the duplicate in crm" in done.err
    pair.crm("UPDATE accounts SET email = 'i@two' WHERE id = 'a7'")
    pair.accord("run", "--once", exits=DONE)
    assert pair.erp("SELECT pname FROM party WHERE mail = 'i@two'") == [("Acme Two",)]
    assert items(pair) == []


def test_a_counter_takes_a_side_and_counts_on(pair: Pair) -> None:
    for sql, table in ((pair.crm, "accounts"), (pair.erp, "party")):
        sql(f"ALTER TABLE {table} ADD COLUMN points INTEGER")
    pair.crm("UPDATE accounts SET points = 5 WHERE id = 'a1'")
    pair.erp("UPDATE party SET points = 7 WHERE mail = 'i@acme'")
    fields = (pair.folder / ENTITY).read_text()
    pair.write(ENTITY, f'{fields}points = {{ crm = "points", erp = "points", conflict = "sum" }}\n')
    pair.accord("prepare", exits=DONE)
    pair.crm("UPDATE accounts SET phone = '8' WHERE id = 'a1'")
    pair.accord("run", "--once", exits=LOOK)
    (item,) = items(pair)
    assert (item["kind"], item["field"], item["take"]) == ("conflict", "points", ["crm", "erp"])
    pair.accord("review", "resolve", str(item["id"]), "--take", "erp", exits=DONE)
    pair.accord("run", "--once", exits=DONE)
    assert pair.crm("SELECT points FROM accounts WHERE id = 'a1'") == [(7,)]
    assert items(pair) == []
    pair.crm("UPDATE accounts SET points = points + 1 WHERE id = 'a1'")
    pair.erp("UPDATE party SET points = points + 2 WHERE mail = 'i@acme'")
    pair.accord("run", "--once", exits=DONE)
    assert pair.crm("SELECT points FROM accounts WHERE id = 'a1'") == [(10,)]
    assert pair.erp("SELECT points FROM party WHERE mail = 'i@acme'") == [(10,)]


def test_an_answer_reaches_a_system_that_was_down(pair: Pair) -> None:
    id = clash(pair)
    pair.edit("accord.toml", 'url = "sqlite:erp.db"', 'url = "sqlite:erp.db"\nlock_timeout = "100ms"')
    begun = pair.log().count("runs as") if (pair.folder / "run.log").exists() else 0
    pair.start()
    pair.until("it runs", lambda: pair.log().count("runs as") > begun)
    with closing(sqlite3.connect(pair.folder / "erp.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        pair.accord("review", "resolve", id, "--take", "crm", exits=DONE)
        pair.until("it is decided", lambda: items(pair) == [])
        pair.until("it is known to be down", lambda: "erp does not answer" in pair.log())
        holder.execute("ROLLBACK")
    pair.until("it is written", lambda: phones(pair) == ("100", "100"))
    assert pair.stop() == DONE
    assert items(pair) == []


def test_retry_looks_at_a_refused_record_again(pair: Pair) -> None:
    pair.erp("CREATE TRIGGER no BEFORE UPDATE OF tel ON party BEGIN SELECT RAISE(ABORT, 'closed today'); END")
    pair.crm("UPDATE accounts SET phone = '5' WHERE id = 'a1'")
    pair.start()
    (item,) = pair.until("it is refused", lambda: items(pair))
    assert (item["kind"], item["system"]) == ("refused", "erp")
    assert "closed today" in pair.accord("review", "show", str(item["id"]), exits=LOOK).out
    assert pair.stop() == DONE
    pair.sql("state.db", "UPDATE pending SET due = due + 3600000000")  # it would try again by itself, in an hour
    pair.erp("DROP TRIGGER no")
    pair.start()
    pair.until("it listens", (pair.folder / "state.db.sock").exists)
    done = pair.accord("review", "retry", str(item["id"]), exits=DONE)
    assert "1 question: The agent looks again now." in done.out
    pair.until("it landed", lambda: phones(pair) == ("5", "5"))
    pair.until("it is closed", lambda: items(pair) == [])
    assert pair.stop() == DONE


def test_retry_all_without_an_agent(pair: Pair) -> None:
    clash(pair)
    pair.crm("INSERT INTO accounts VALUES ('a7', 'Acme Two', 'i@acme', '3', NULL)")
    pair.accord("run", "--once", exits=LOOK)
    done = pair.accord("review", "retry", "--all", "--json", exits=DONE)
    assert sorted(done.json["data"]["ids"]) == sorted(str(i["id"]) for i in items(pair))
    rows = pair.sql("state.db", "SELECT s.name, l.key FROM look l JOIN system s ON s.id = l.system ORDER BY 1, 2")
    ((party,),) = pair.erp("SELECT id FROM party WHERE mail = 'i@acme'")
    assert rows == [("crm", "a1"), ("crm", "a7"), ("erp", str(party))]
    assert pair.sql("state.db", "SELECT note FROM journal WHERE action = 'review'")[0][0].startswith("all 2 questions")
    pair.accord("run", "--once", exits=LOOK)
    assert len(items(pair)) == 2, "the same questions are asked again, as the same items"


def test_a_spreadsheet_for_colleagues(pair: Pair) -> None:
    id = clash(pair, "+351 1", "=2+3")
    pair.accord("review", "--csv", "waiting.csv", exits=LOOK)
    raw = (pair.folder / "waiting.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf"), "spreadsheets tell the encoding by this mark"
    (line,) = csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""))
    assert (line["id"], line["kind"], line["crm"], line["erp"]) == (id, "conflict", "'+351 1", "'=2+3")
    for cell in line.values():
        assert not cell.startswith(("=", "+", "-", "@"))
    out = pair.accord("review", "--csv", "-", exits=LOOK).out
    assert next(csv.DictReader(io.StringIO(out)))["id"] == id
    done = pair.accord("review", "--csv", "no/such/folder.csv", exits=USAGE)
    assert "cannot be written" in done.err


def test_only_one_entity(pair: Pair) -> None:
    id = clash(pair)
    assert [i["id"] for i in items(pair, "--only", "customer")] == [id]
    assert 'Did you mean "customer"?' in pair.accord("review", "--only", "customr", exits=USAGE).err


def test_what_is_asked_wrongly(pair: Pair) -> None:
    id = clash(pair)
    state = (pair.folder / "state.db").read_bytes()
    done = pair.accord("review", "resolve", id, "--take", "shop", exits=USAGE)
    assert "shop is no party to it" in done.err
    assert "crm, erp" in done.err
    near = id[:-1] + ("0" if id[-1] != "0" else "1")
    assert f'Did you mean "{id}"?' in pair.accord("review", "show", near, exits=USAGE).err
    assert 'there is no open question "zz"' in pair.accord("review", "retry", "zz", exits=USAGE).err
    assert "--all" in pair.accord("review", "retry", exits=USAGE).err
    assert 'Did you mean "resolve"?' in pair.accord("review", "resolv", id, exits=USAGE).err
    assert f"accord review show {id}" in pair.accord("review", id, exits=USAGE).err
    assert "--take" in pair.accord("review", "resolve", id, exits=USAGE).err
    with StateLock(pair.folder / "state.db", "another"):
        done = pair.accord("review", "resolve", id, "--take", "crm", exits=TAKEN)
        assert 'agent "another"' in done.err
    assert (pair.folder / "state.db").read_bytes() == state


def test_without_a_state(tmp_path: Path) -> None:
    with Pair(tmp_path) as pair:
        assert "Nothing waits" in pair.accord("review", exits=DONE).out
        pair.accord("review", "resolve", "12345678", "--take", "crm", exits=USAGE)
        assert not (tmp_path / "state.db").exists()
