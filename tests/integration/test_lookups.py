"""A column that holds the key of a row in a reference table; the real process, judged by SQL of the test's own."""

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
email = { crm = "email", erp = "mail" }
country = { crm = "country_id", erp = "country", lookup = "country" }
currency = { crm = "money", erp = "currency", lookup = "currency" }
"""
LOOKUPS = """\
[lookups.country]
format = "upper"
erp = { table = "country", value = "code" }

[lookups.country.crm]
table = "crm_country"
value = "name"
where = { kind = "state" }
map = { Germany = "DE", France = "FR", "*" = "*" }

[lookups.currency]
erp = { table = "currency", key = "number", value = "code" }
"""
CRM = """
DROP TABLE accounts;
CREATE TABLE crm_country (id INTEGER PRIMARY KEY, name TEXT, kind TEXT);
INSERT INTO crm_country VALUES (1, 'Germany', 'state'), (2, 'France', 'state'), (3, 'IT', 'state'), (4, 'IT', 'old');
CREATE TABLE accounts (id TEXT PRIMARY KEY, email TEXT, country_id INTEGER REFERENCES crm_country, money TEXT);
INSERT INTO accounts VALUES ('a1', 'i@acme', 1, 'EUR'), ('a2', 'i@bolt', 2, NULL), ('a3', 'i@cat', NULL, 'USD');
"""
ERP = """
DROP TABLE party;
CREATE TABLE country (id INTEGER PRIMARY KEY, code TEXT);
INSERT INTO country VALUES (11, 'de'), (12, 'fr'), (13, 'it');
CREATE TABLE currency (id INTEGER PRIMARY KEY, number TEXT UNIQUE, code TEXT);
INSERT INTO currency VALUES (1, '978', 'EUR'), (2, '840', 'USD');
CREATE TABLE party (id INTEGER PRIMARY KEY, mail TEXT, country INTEGER, currency TEXT);
INSERT INTO party (mail, country, currency) VALUES ('i@acme', 11, '978');
"""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path) as pair:
        pair.crm(CRM)
        pair.erp(ERP)
        pair.write("entities/customer.toml", ENTITY)
        pair.write("entities/lookups.toml", LOOKUPS)
        pair.accord("prepare", exits=DONE)
        pair.accord("run", "--once", exits=DONE)
        yield pair


def crm(pair: Pair, email: str = "i@acme") -> tuple[Any, ...]:
    ((*row,),) = pair.crm("SELECT country_id, money FROM accounts WHERE email = ?", email)
    return tuple(row)


def erp(pair: Pair, email: str = "i@acme") -> tuple[Any, ...]:
    ((*row,),) = pair.erp("SELECT country, currency FROM party WHERE mail = ?", email)
    return tuple(row)


def asked(pair: Pair) -> str:
    """What a person is asked, in full."""
    return str(pair.accord("review", "--json", exits=LOOK).json["data"]["items"])


def test_keys_are_translated_both_ways(pair: Pair) -> None:
    assert (erp(pair), erp(pair, "i@bolt"), erp(pair, "i@cat")) == ((11, "978"), (12, None), (None, "840"))
    pair.crm("UPDATE accounts SET country_id = 2, money = 'USD' WHERE id = 'a1'")
    pair.erp("UPDATE party SET country = 13 WHERE mail = 'i@bolt'")
    pair.accord("run", "--once", exits=DONE)
    assert erp(pair) == (12, "840")
    assert crm(pair, "i@bolt") == (3, None), "the row that does not count (kind = old) is no second Italy"
    pair.accord("verify", exits=DONE)
    pair.erp("UPDATE party SET country = NULL WHERE mail = 'i@acme'")
    pair.accord("run", "--once", exits=DONE)
    assert crm(pair) == (None, "USD")


def test_a_word_that_no_row_has_waits_until_there_is_one(pair: Pair) -> None:
    pair.erp("INSERT INTO country VALUES (14, 'es'); UPDATE party SET country = 14 WHERE mail = 'i@acme';")
    pair.accord("run", "--once", exits=LOOK)
    assert crm(pair) == (1, "EUR")
    assert "no row of crm_country in crm stands for 'ES'" in asked(pair)
    pair.crm("INSERT INTO crm_country VALUES (5, 'ES', 'state')")
    pair.crm("UPDATE accounts SET money = 'USD' WHERE id = 'a1'")
    pair.accord("run", "--once", exits=DONE)
    assert (crm(pair), erp(pair)) == ((5, "USD"), (14, "840"))


def test_a_key_that_is_no_row_waits_until_it_is_one(pair: Pair) -> None:
    pair.erp("UPDATE party SET country = 15 WHERE mail = 'i@acme'")
    pair.accord("run", "--once", exits=LOOK)
    assert crm(pair) == (1, "EUR")
    assert "country has no row '15'" in asked(pair)
    pair.erp("INSERT INTO country VALUES (15, 'fr')")
    pair.accord("run", "--once", exits=DONE)
    assert crm(pair) == (2, "EUR"), "the new row alone is enough: whoever points to it is looked at again"


def test_a_word_that_changes_reaches_those_who_point_to_it(pair: Pair) -> None:
    """Germany is renamed into Italy in the ERP: all customers there are Italians now."""
    pair.erp("UPDATE country SET code = 'xx' WHERE id = 13; UPDATE country SET code = 'it' WHERE id = 11;")
    pair.accord("run", "--once", exits=DONE)
    assert (crm(pair), erp(pair)) == ((3, "EUR"), (11, "978"))
    before = pair.crm("SELECT * FROM accounts"), pair.erp("SELECT * FROM party")
    pair.accord("run", "--once", exits=DONE)
    assert (pair.crm("SELECT * FROM accounts"), pair.erp("SELECT * FROM party")) == before


def test_two_rows_of_one_word_are_no_guess(pair: Pair) -> None:
    pair.erp("INSERT INTO country VALUES (21, 'FR')")
    pair.crm("UPDATE accounts SET country_id = 2 WHERE id = 'a1'")
    pair.accord("run", "--once", exits=LOOK)
    assert erp(pair) == (11, "978")
    assert "several rows (12, 21) of country in erp stand for 'FR'" in asked(pair)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('lookup = "country"', 'lookup = "contry"', 'no lookup is called "contry". Did you mean "country"?'),
        (
            'value = "code" }\n\n[lookups.country.crm]',
            'value = "cod" }\n\n[lookups.country.crm]',
            'Did you mean "code"?',
        ),
        ('table = "crm_country"', 'table = "crm_contry"', "crm has no table 'crm_contry'"),
        ('key = "number", ', 'key = "code", ', "code is not unique in currency"),
        ("[lookups.currency]", "[lookups.currency]\nfromat = 1", 'unknown key. Did you mean "format"?'),
    ],
)
def test_what_is_wrong_is_said(pair: Pair, old: str, new: str, said: str) -> None:
    for file in ("customer", "lookups"):
        name = f"entities/{file}.toml"
        if old in (pair.folder / name).read_text():
            pair.edit(name, old, new)
    assert said in pair.accord("check", exits=USAGE).all


def test_a_reference_table_without_its_triggers_is_read_all_the_same(pair: Pair) -> None:
    """An upgrade of the application dropped them: the agent goes on, and what has changed meanwhile arrives."""
    names = pair.erp("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'country'")
    assert names
    for (name,) in names:
        pair.erp(f'DROP TRIGGER "{name}";')
    pair.erp("UPDATE country SET code = 'xx' WHERE id = 13; UPDATE country SET code = 'it' WHERE id = 11;")
    done = pair.accord("run", "--once")
    assert crm(pair) == (3, "EUR"), done.all
    pair.accord("run", "--once")
    assert (crm(pair), erp(pair)) == ((3, "EUR"), (11, "978"))


def test_reference_rows_are_never_written(pair: Pair) -> None:
    tables = pair.crm("SELECT * FROM crm_country"), pair.erp("SELECT * FROM country")
    pair.crm("UPDATE accounts SET country_id = 3")
    pair.crm("DELETE FROM accounts WHERE id = 'a2'")
    pair.accord("run", "--once", exits=DONE)
    assert (pair.crm("SELECT * FROM crm_country"), pair.erp("SELECT * FROM country")) == tables
    pair.accord("unprepare", "--yes", exits=DONE)
    left = pair.erp("SELECT name FROM sqlite_master WHERE name LIKE 'accord%'")
    assert left == []
