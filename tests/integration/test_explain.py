"""`accord explain`, the real process; what it has to say is made, and judged, by SQL of the test's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from config.errors import DONE, LOOK, USAGE
from tests.integration.pair import Pair
from tests.servers import PASSWORD, PostgresServer

ENTITY = "entities/customer.toml"


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setenv("COLUMNS", "200")
    with Pair(tmp_path) as pair:
        yield pair


@pytest.fixture
def settled(pair: Pair) -> Pair:
    pair.accord("prepare", exits=DONE)
    pair.accord("run", "--once", exits=DONE)
    return pair


def party(pair: Pair, mail: str = "i@acme") -> str:
    """Its key in the ERP, as people write it."""
    ((key,),) = pair.erp("SELECT id FROM party WHERE mail = ?", mail)
    return f"erp:{key}"


def explain(pair: Pair, record: str, exits: int, entity: str = "customer") -> dict[str, Any]:
    data: dict[str, Any] = pair.accord("explain", entity, record, "--json", exits=exits).json["data"]
    data["by_name"] = {f["name"]: f for f in data["fields"]}
    return data


def text(pair: Pair, record: str, entity: str = "customer") -> str:
    return pair.accord("explain", entity, record).out


def cells(data: dict[str, Any], name: str) -> dict[str, tuple[str, Any]]:
    return {s: (c["state"], c["value"]) for s, c in data["by_name"][name]["systems"].items()}


# --- a record --------------------------------------------------------------------------------------------------------


def test_a_record_that_is_the_same_everywhere(settled: Pair) -> None:
    ((gid,),) = settled.crm("SELECT gid FROM accord_crosswalk WHERE system = 'crm' AND key = 'a1'")
    erp = party(settled)
    found = explain(settled, "crm:a1", DONE)
    assert (found["gid"], found["keys"]) == (gid, {"crm": "a1", "erp": erp[4:]})
    assert (found["differ"], found["waits"], found["notes"], found["reviews"]) == (0, 0, [], [])
    assert cells(found, "phone") == {"crm": ("same", "1"), "erp": ("same", "1")}
    for name in (erp, gid, f"{gid[:8]}-{gid[8:12]}-{gid[12:16]}-{gid[16:20]}-{gid[20:]}".upper()):
        assert explain(settled, name, DONE)["gid"] == gid
    said = text(settled, "crm:a1")
    assert said.startswith(f"customer crm:a1 = {erp}   (gid {gid})   the same everywhere\n")


def test_the_loser_of_a_conflict_is_named(settled: Pair) -> None:
    settled.erp("UPDATE party SET tel = '222' WHERE mail = 'i@acme'")
    settled.crm("UPDATE accounts SET phone = '111' WHERE id = 'a1'")
    settled.accord("run", "--once", exits=DONE)
    ((left,),) = settled.erp("SELECT tel FROM party WHERE mail = 'i@acme'")
    winner, loser, gone = ("crm", "erp", "222") if left == "111" else ("erp", "crm", "111")
    phone = explain(settled, "crm:a1", DONE)["by_name"]["phone"]
    assert (phone["agreed"], phone["from"]) == (left, winner)
    assert phone["rule"].startswith("latest")
    assert [(x["system"], x["value"], x["action"]) for x in phone["lost"]] == [(loser, gone, "conflict")]
    assert f"{loser} lost {gone}" in text(settled, "crm:a1")
    settled.crm("UPDATE accounts SET phone = '333' WHERE id = 'a1'")
    settled.accord("run", "--once", exits=DONE)
    phone = explain(settled, "crm:a1", DONE)["by_name"]["phone"]
    assert (phone["agreed"], phone["from"], phone["lost"]) == ("333", "crm", []), "it lost to a value that is no more"


def test_overrides_that_are_undone_and_tolerated(settled: Pair) -> None:
    settled.erp("UPDATE party SET pname = 'ACME' WHERE mail = 'i@acme'")
    settled.accord("run", "--once", exits=DONE)
    assert settled.erp("SELECT pname FROM party WHERE mail = 'i@acme'") == [("Acme",)]
    assert "erp's ACME undone" in text(settled, "crm:a1")
    settled.edit(ENTITY, 'owner = "crm" }', 'owner = "crm", override = "tolerate" }')
    settled.erp("UPDATE party SET pname = 'Acme Intl' WHERE mail = 'i@acme'")
    settled.accord("run", "--once", exits=DONE)
    found = explain(settled, "crm:a1", LOOK)
    assert cells(found, "name") == {"crm": ("same", "Acme"), "erp": ("tolerated", "Acme Intl")}
    said = text(settled, "crm:a1")
    assert "erp tolerated Acme Intl" in said
    assert "1 field differs, 0 wait" in said


def test_an_edit_that_no_round_has_seen(settled: Pair) -> None:
    settled.erp("UPDATE party SET tel = '777' WHERE mail = 'i@acme'")
    before, state = settled.dump(), (settled.folder / "state.db").read_bytes()
    found = explain(settled, "crm:a1", LOOK)
    assert cells(found, "phone") == {"crm": ("same", "1"), "erp": ("not seen yet", "777")}
    assert "No agent runs" in text(settled, "crm:a1")
    assert settled.dump() == before
    assert (settled.folder / "state.db").read_bytes() == state


def test_what_was_refused_waits_and_is_in_review(settled: Pair) -> None:
    settled.erp("CREATE TRIGGER no BEFORE UPDATE OF tel ON party BEGIN SELECT RAISE(ABORT, 'closed today'); END")
    settled.crm("UPDATE accounts SET phone = '5' WHERE id = 'a1'")
    settled.accord("run", "--once", exits=LOOK)
    found = explain(settled, "crm:a1", LOOK)
    assert cells(found, "phone") == {"crm": ("same", "5"), "erp": ("waits", "1")}
    (pending,), (review,) = found["pending"], found["reviews"]
    assert (pending["system"], pending["reason"], review["kind"]) == ("erp", "refused", "refused")
    assert pending["next"] > pending["since"]
    said = text(settled, "crm:a1")
    assert "waits (1)" in said
    assert "waits: phone to erp since" in said
    assert "closed today" in said


def test_a_system_that_does_not_answer(settled: Pair) -> None:
    settled.edit("accord.toml", 'url = "sqlite:erp.db"', 'url = "sqlite:erp.db"\nlock_timeout = "100ms"')
    settled.start()
    settled.until("it runs", lambda: "runs as" in settled.log())
    key = party(settled)
    with closing(sqlite3.connect(settled.folder / "erp.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        settled.crm("UPDATE accounts SET phone = '99' WHERE id = 'a1'")
        settled.until("it waits", lambda: explain(settled, "crm:a1", LOOK)["pending"])
        found = explain(settled, "crm:a1", LOOK)
        assert list(found["down"]) == ["erp"]
        assert found["keys"] == {"crm": "a1", "erp": key[4:]}
        assert cells(found, "phone") == {"crm": ("same", "99"), "erp": ("waits", "1")}
        assert cells(found, "name")["erp"] == ("same", "Acme")
        said = text(settled, key)
        assert "erp does not answer; shown as last seen" in said
        assert "waits: phone to erp since" in said
        holder.execute("ROLLBACK")
    settled.until("it landed", lambda: settled.erp("SELECT 1 FROM party WHERE tel = '99'"))
    settled.until("all is settled", lambda: settled.accord("explain", "customer", "crm:a1").code == DONE)


def test_nobody_can_say_that_a_system_agrees_which_was_not_asked(settled: Pair) -> None:
    for name in ("erp.db", "crm.db"):
        (settled.folder / name).rename(settled.folder / f"away-{name}")
        found = explain(settled, "crm:a1", LOOK)
        assert name[:3] in found["down"]
        assert found["by_name"]["name"]["agreed"] == "Acme"
        assert "the same everywhere" not in text(settled, "crm:a1")


def test_a_field_in_review_says_how_to_resolve_it(settled: Pair) -> None:
    settled.edit(ENTITY, '{ crm = "phone", erp = "tel" }', '{ crm = "phone", erp = "tel", conflict = "review" }')
    settled.erp("UPDATE party SET tel = '222' WHERE mail = 'i@acme'")
    settled.crm("UPDATE accounts SET phone = '111' WHERE id = 'a1'")
    settled.accord("run", "--once", exits=LOOK)
    found = explain(settled, "crm:a1", LOOK)
    assert cells(found, "phone") == {"crm": ("in review", "111"), "erp": ("in review", "222")}
    assert (found["by_name"]["phone"]["agreed"], found["differ"]) == ("1", 1)
    assert f"accord review resolve {found['reviews'][0]['id']} --take crm|erp" in text(settled, "crm:a1")


def test_a_record_that_was_deleted_on_one_side(settled: Pair) -> None:
    settled.edit(ENTITY, 'delete = { crm = "propagate", erp = "propagate" }\n', "")
    settled.crm("DELETE FROM accounts WHERE id = 'a1'")
    assert "crm: its row is gone; the next round looks at it." in text(settled, "crm:a1")
    settled.accord("run", "--once", exits=LOOK)
    found = explain(settled, "crm:a1", LOOK)
    assert cells(found, "phone") == {"crm": ("gone", None), "erp": ("same", "1")}
    assert found["notes"] == ["crm: people deleted it there."]
    assert found["reviews"][0]["kind"] == "delete"


def test_a_reference_is_shown_by_its_key(settled: Pair) -> None:
    with_orders(settled)
    settled.crm("INSERT INTO orders VALUES (1, 'O1', 'a1')")
    settled.accord("run", "--once", exits=DONE)
    found = explain(settled, "crm:1", DONE, "order")
    assert found["by_name"]["buyer"]["agreed"] == "crm:a1"
    ((bolt,),) = settled.erp("SELECT id FROM party WHERE mail = 'i@bolt'")
    settled.erp("UPDATE sale SET party = ?", bolt)
    found = explain(settled, "crm:1", LOOK, "order")
    assert cells(found, "buyer") == {"crm": ("same", "crm:a1"), "erp": ("not seen yet", "crm:a2")}


def with_orders(pair: Pair) -> None:
    pair.crm("CREATE TABLE orders (id INTEGER PRIMARY KEY, number TEXT, account TEXT)")
    pair.erp("CREATE TABLE sale (id INTEGER PRIMARY KEY, number TEXT, party INTEGER)")
    head = '[order]\nmatch = [["number"]]\nfirst_contact = "auto"\n'
    tables = '[order.crm]\ntable = "orders"\n[order.erp]\ntable = "sale"\n[order.fields]\n'
    fields = 'number = { crm = "number", erp = "number" }\nbuyer = { crm = "account", erp = "party", ref = "customer" }'
    pair.write("entities/order.toml", f"{head}{tables}{fields}\n")
    pair.accord("prepare", exits=DONE)


# --- a row that is no record -----------------------------------------------------------------------------------------


def test_a_key_that_nobody_knows(settled: Pair) -> None:
    found = explain(settled, "crm:nope", LOOK)
    assert found["gid"] is None
    assert "Nobody knows crm:nope: there is no such row in accounts" in text(settled, "crm:nope")
    assert "no customer with this gid" in text(settled, "0" * 32)


def test_a_key_that_was_changed(settled: Pair) -> None:
    settled.crm("UPDATE accounts SET id = 'b1' WHERE id = 'a1'")
    settled.accord("run", "--once", exits=DONE)
    said = text(settled, "crm:a1")
    assert f"The record is now crm:b1 = {party(settled)}" in said


def test_several_that_match(settled: Pair) -> None:
    settled.crm("INSERT INTO accounts VALUES ('a7', 'Acme Two', 'i@acme', '3', NULL)")
    assert "No round has looked at it yet." in text(settled, "crm:a7")
    assert "match email: found in crm:a1" in text(settled, "crm:a7")
    settled.accord("run", "--once", exits=LOOK)
    found = explain(settled, "crm:a7", LOOK)
    assert found["notes"] == ["A person has to say which record it is."]
    assert cells(found, "name")["crm:a7"][1] == "Acme Two"
    assert cells(found, "name")["crm:a1"][1] == "Acme"
    assert f"in review: {found['reviews'][0]['id']}, duplicate." in text(settled, "crm:a7")


def test_a_first_contact_that_is_held(pair: Pair) -> None:
    pair.edit(ENTITY, 'first_contact = "auto"\n', "")
    said = text(pair, "crm:a1")
    assert "First contact of customer is held" in said
    assert "accord plan --accept" in said
    assert not (pair.folder / "state.db").exists()


def test_a_blank_in_the_match_rule_and_no_place_to_create_it(settled: Pair) -> None:
    settled.edit(ENTITY, 'first_contact = "auto"\n', 'first_contact = "auto"\ncreate = { erp = false }\n')
    settled.crm("INSERT INTO accounts VALUES ('a8', 'Fox', NULL, '4', NULL)")
    settled.accord("run", "--once", exits=DONE)
    assert settled.erp("SELECT count(*) FROM party WHERE pname = 'Fox'") == [(0,)]
    found = explain(settled, "crm:a8", LOOK)
    assert found["notes"][0] == "match email: does not match, email is blank."
    assert "may create it in no other system" in found["notes"][1]


def test_a_child_that_waits_for_its_parent(settled: Pair) -> None:
    with_orders(settled)
    settled.crm("INSERT INTO accounts VALUES ('a7', 'Acme Two', 'i@acme', '3', NULL)")
    settled.crm("INSERT INTO orders VALUES (2, 'O2', 'a7')")
    settled.accord("run", "--once", exits=LOOK)
    assert settled.erp("SELECT count(*) FROM sale") == [(0,)]
    assert "waits for its parent: customer crm:a7 is no record yet" in text(settled, "crm:2", "order").replace("W", "w")


def test_an_archived_row(pair: Pair) -> None:
    pair.crm("ALTER TABLE accounts ADD COLUMN deleted INTEGER DEFAULT 0")
    pair.edit(ENTITY, 'new_key = "uuid"', 'new_key = "uuid"\narchive = { deleted = 1 }')
    pair.crm("UPDATE accounts SET deleted = 1 WHERE id = 'a1'")
    pair.accord("prepare", exits=DONE)
    pair.accord("run", "--once", exits=DONE)
    assert "archived in crm, which counts as gone" in text(pair, "crm:a1")


# --- how it is asked -------------------------------------------------------------------------------------------------


def test_a_composite_key(pair: Pair) -> None:
    pair.erp("DROP TABLE party")
    pair.erp("CREATE TABLE party (firm INTEGER, no TEXT, pname TEXT, mail TEXT, tel TEXT, PRIMARY KEY (firm, no))")
    pair.erp("INSERT INTO party VALUES (12, '3', 'Acme', 'i@acme', '1'), (12, 'a,b', 'Bolt', 'i@bolt', '2')")
    pair.edit(ENTITY, 'table = "party"', 'table = "party"\nwrite = false')
    pair.accord("prepare", exits=DONE)
    pair.accord("run", "--once", exits=DONE)
    assert explain(pair, "erp:12,3", DONE)["record"] == "crm:a1 = erp:12,3"
    assert explain(pair, 'erp:["12","a,b"]', DONE)["record"] == 'crm:a2 = erp:["12","a,b"]'
    done = pair.accord("explain", "customer", "erp:12", exits=USAGE)
    assert "the key in erp has 2 columns" in done.err


def test_what_is_asked_wrongly(settled: Pair) -> None:
    for words, said in {
        ("customr", "crm:a1"): 'Did you mean "customer"?',
        ("customer", "cmr:a1"): 'Did you mean "crm"?',
        ("customer", "a1"): "crm:a1",
        ("customer",): "Missing argument",
    }.items():
        assert said.lower() in settled.accord("explain", *words, exits=USAGE).err.lower()


def test_wide_values_are_cut_to_the_terminal(settled: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    long = "Acme " + "x" * 300 + "\nLtd"
    settled.crm("UPDATE accounts SET name = ? WHERE id = 'a1'", long)
    settled.accord("run", "--once", exits=DONE)
    monkeypatch.setenv("COLUMNS", "90")
    lines = text(settled, "crm:a1").splitlines()
    assert max(map(len, lines[1:])) <= 90
    assert len(lines) == 5
    assert explain(settled, "crm:a1", DONE)["by_name"]["name"]["agreed"] == long


# --- with a server ---------------------------------------------------------------------------------------------------


def test_on_postgresql(pair: Pair, postgres: PostgresServer) -> None:
    """explain, review and verify with a real server, a uuid as the key, and columns of another kind."""
    database = postgres.create_database()
    with closing(postgres.connect(database)) as erp:
        erp.execute(
            "CREATE TABLE party (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), pname text, mail char(20), tel text)"
        )
        erp.execute("INSERT INTO party (pname, mail, tel) VALUES ('Acme', 'i@acme', '1')")
        address = f'url = "{postgres.url(database)}"\npassword = "file:secret"'
        pair.edit("accord.toml", 'url = "sqlite:erp.db"', address)
        pair.write("secret", PASSWORD)
        (pair.folder / "secret").chmod(0o600)
        pair.edit(ENTITY, '{ crm = "phone", erp = "tel" }', '{ crm = "phone", erp = "tel", conflict = "review" }')
        pair.accord("prepare", exits=DONE)
        pair.accord("run", "--once", exits=DONE)
        ((key,),) = erp.execute("SELECT id::text FROM party WHERE pname = 'Acme'").fetchall()
        assert explain(pair, f"erp:{key.upper()}", DONE)["record"] == f"crm:a1 = erp:{key}"
        assert "Nobody knows erp:4711" in text(pair, "erp:4711")
        assert "All agree." in pair.accord("verify", exits=DONE).out
        erp.execute("UPDATE party SET tel = '200' WHERE pname = 'Acme'")
        pair.crm("UPDATE accounts SET phone = '100' WHERE id = 'a1'")
        assert "crm 100, erp 200" in pair.accord("verify", exits=LOOK).out
        pair.accord("run", "--once", exits=LOOK)
        assert "But for that, all agree." in pair.accord("verify", exits=DONE).out
        (item,) = pair.accord("review", "--json").json["data"]["items"]
        pair.accord("review", "resolve", item["id"], "--take", "erp", exits=DONE)
        pair.accord("run", "--once", exits=DONE)
        assert pair.crm("SELECT phone FROM accounts WHERE id = 'a1'") == [("200",)]
        assert "All agree." in pair.accord("verify", exits=DONE).out
