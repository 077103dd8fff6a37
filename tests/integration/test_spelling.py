"""Maps and formats: the same value spelled differently in two systems. The real process; judged by SQL of the test's
own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.errors import DONE, LOOK, USAGE
from tests.integration.pair import Pair

ENTITY = """\
[customer]
match = [["email"]]
first_contact = "auto"
delete = { crm = "propagate", erp = "propagate" }

[customer.crm]
table = "accounts"
new_key = "uuid"

[customer.erp]
table = "party"

[customer.fields]
name = { crm = "name", erp = { column = "pname", format = "upper" } }
email = { crm = { column = "emails", format = ["first:,", "email"] }, erp = "mail", format = "email" }

[customer.fields.state]
crm = { column = "state", map = { "In work" = "open", Won = "done", Odd = "unknown", "*" = "unknown" } }
erp = { column = "stage", map = { 1 = "open", 2 = "done", 3 = "done", 9 = "unknown" } }

[customer.fields.vip]
type = "bool"
crm = { column = "vip", map = { yes = true, "" = false } }
erp = "important"
"""

CRM = """
DROP TABLE accounts;
CREATE TABLE accounts (id TEXT PRIMARY KEY, name TEXT, emails TEXT, state TEXT, vip TEXT);
INSERT INTO accounts VALUES ('a1', 'ACME', 'Info@Acme.example, sales@acme.example', 'Won', 'yes'),
    ('a2', 'BOLT', 'hello@bolt.example', 'In work', '');
"""
ERP = """
DROP TABLE party;
CREATE TABLE party (id INTEGER PRIMARY KEY, pname TEXT, mail TEXT, stage INTEGER, important BOOLEAN);
INSERT INTO party (pname, mail, stage, important) VALUES ('Acme', 'info@ACME.example', 3, 1);
"""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path) as pair:
        pair.crm(CRM)
        pair.erp(ERP)
        pair.write("entities/customer.toml", ENTITY)
        pair.accord("prepare", exits=DONE)
        pair.accord("run", "--once", exits=DONE)
        yield pair


def crm(pair: Pair, id: str = "a1") -> tuple[Any, ...]:
    ((*row,),) = pair.crm("SELECT name, emails, state, vip FROM accounts WHERE id = ?", id)
    return tuple(row)


def erp(pair: Pair, mail: str = "info@ACME.example") -> tuple[Any, ...]:
    ((*row,),) = pair.erp("SELECT pname, mail, stage, important FROM party WHERE mail = ?", mail)
    return tuple(row)


def test_equal_values_keep_their_own_spelling(pair: Pair) -> None:
    """Linked by an address that is spelled otherwise; nothing was written there; a new row is in each side's words."""
    assert crm(pair) == ("ACME", "Info@Acme.example, sales@acme.example", "Won", "yes")
    assert erp(pair) == ("Acme", "info@ACME.example", 3, 1)
    assert erp(pair, "hello@bolt.example") == ("BOLT", "hello@bolt.example", 1, 0)
    before = pair.crm("SELECT * FROM accounts"), pair.erp("SELECT * FROM party")
    pair.accord("run", "--once", exits=DONE)
    pair.accord("verify", exits=DONE)
    assert (pair.crm("SELECT * FROM accounts"), pair.erp("SELECT * FROM party")) == before


def test_a_change_is_written_in_the_words_of_each_side(pair: Pair) -> None:
    pair.erp("UPDATE party SET stage = 1, important = 0, mail = 'Info@new.example' WHERE mail = 'info@ACME.example'")
    pair.accord("run", "--once", exits=DONE)
    assert crm(pair) == ("ACME", "Info@new.example, sales@acme.example", "In work", None), "the second address stays"
    pair.crm("UPDATE accounts SET state = 'Won', vip = 'yes' WHERE id = 'a1'")
    pair.accord("run", "--once", exits=DONE)
    assert erp(pair, "Info@new.example") == ("Acme", "Info@new.example", 2, 1), "of two that mean done: the first"


def test_another_spelling_of_the_same_value_is_no_change(pair: Pair) -> None:
    before = erp(pair)
    pair.crm("UPDATE accounts SET emails = 'INFO@acme.example,other@acme.example' WHERE id = 'a1'")
    pair.erp("UPDATE party SET stage = 2 WHERE mail = 'info@ACME.example'")
    pair.accord("run", "--once", exits=DONE)
    assert crm(pair) == ("ACME", "INFO@acme.example,other@acme.example", "Won", "yes")
    assert erp(pair) == (*before[:2], 2, before[3])


def test_a_word_that_is_not_in_the_map_waits_for_a_person(pair: Pair) -> None:
    pair.erp("UPDATE party SET stage = 7 WHERE mail = 'info@ACME.example'")
    pair.accord("run", "--once", exits=LOOK)
    assert crm(pair)[2] == "Won"
    assert "'7' is not in the map of stage" in str(pair.accord("review", "--json", exits=LOOK).json["data"]["items"])
    pair.erp("UPDATE party SET stage = 1 WHERE mail = 'info@ACME.example'")
    pair.accord("run", "--once", exits=DONE)
    assert crm(pair)[2] == "In work"


def test_every_other_value_is_read_as_one_word(pair: Pair) -> None:
    pair.crm("UPDATE accounts SET state = 'Who knows' WHERE id = 'a1'")
    pair.accord("run", "--once", exits=DONE)
    assert (crm(pair)[2], erp(pair)[2]) == ("Who knows", 9), "both say unknown, each in its own words"


def test_a_word_that_no_value_stands_for_is_told_before_anything_is_written(pair: Pair) -> None:
    pair.edit("entities/customer.toml", ', 9 = "unknown"', "")
    done = pair.accord("check", exits=USAGE)
    line = pair.line("entities/customer.toml", "3 =")
    assert f"customer.toml:{line}: customer.fields.state.erp.map: no value of stage stands for 'unknown'" in done.all


def test_a_value_that_has_no_form_waits(pair: Pair) -> None:
    pair.erp("UPDATE party SET mail = 'nobody' WHERE mail = 'info@ACME.example'")
    pair.accord("run", "--once", exits=LOOK)
    assert crm(pair)[1] == "Info@Acme.example, sales@acme.example"
