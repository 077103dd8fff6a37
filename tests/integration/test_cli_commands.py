"""Help, prepare and unprepare, status, JSON: the real process, and what `docs/commands.md` says of it."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agent import __version__
from config.errors import DONE, LOOK, UNREACHABLE, USAGE
from tests.integration.documented import DOCS, differs, examples
from tests.integration.pair import Pair
from tests.servers import PASSWORD, MariaServer, PostgresServer

MADE = "accord\\_%"  # what is Accord's, in a LIKE


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path) as pair:
        yield pair


def test_check_tells_what_is_not_prepared_from_what_is_to_be_prepared_again(pair: Pair) -> None:
    assert "not prepared yet" in pair.accord("check", exits=DONE).out
    pair.accord("prepare", exits=DONE)
    pair.crm("DROP TRIGGER accord_accounts_update")
    done = pair.accord("check", exits=LOOK)
    assert "crm (sqlite): reached; to be prepared again" in done.out and "accord_accounts_update" in done.all
    assert "erp (sqlite): reached; prepared" in done.out
    pair.accord("prepare", exits=DONE)
    pair.accord("check", exits=DONE)


# --- the documentation -----------------------------------------------------------------------------------------------


def test_json_is_as_the_documentation_shows_it(pair: Pair) -> None:
    def data(*words: str, exits: int = DONE) -> Any:
        return pair.accord(*words, "--json", exits=exits).json["data"]

    shown = {name: examples(name) for name in ("check", "prepare", "unprepare", "plan", "run", "status")}
    assert differs(shown["plan"][0], data("plan", exits=LOOK)) == ""
    assert differs(shown["prepare"][1], data("prepare", "--print")) == ""
    assert differs(shown["prepare"][0], data("prepare")) == ""
    assert differs(shown["check"][0], data("check")) == ""
    lines = [json.loads(line) for line in pair.accord("run", "--once", "--json", exits=DONE).out.splitlines()]
    assert len(lines) > 1
    assert [d for line in lines[:-1] if (d := differs(shown["run"][0], line["data"]))] == []
    assert any(line["data"]["written"] for line in lines[:-1])
    assert differs(shown["run"][1], lines[-1]["data"]) == ""
    status = data("status")
    assert status.pop("agent") == {"running": False}
    assert differs({k: v for k, v in shown["status"][0].items() if k != "agent"}, status) == ""
    assert differs(shown["unprepare"][1], data("unprepare", "--print")) == ""
    assert differs(shown["unprepare"][0], data("unprepare", "--yes")) == ""


def test_json_of_what_is_wrong_is_as_the_documentation_shows_it(pair: Pair) -> None:
    pair.edit("entities/customer.toml", 'crm = "phone"', 'crm = "phon"')
    shown = json.loads(re.findall(r"```json\n(.*?)```", DOCS, re.S)[0])
    actual = pair.accord("check", "--json", exits=USAGE).json
    actual["data"] = {}
    assert differs(shown, actual) == ""
    shown["problems"][0]["line"] = pair.line("entities/customer.toml", "phon")
    assert actual == {**shown, "accord": __version__}


def test_status_of_an_agent_that_waits_for_a_system(pair: Pair) -> None:
    pair.accord("prepare")
    pair.accord("run", "--once", exits=DONE)
    pair.edit("accord.toml", 'url = "sqlite:erp.db"', 'url = "sqlite:erp.db"\nlock_timeout = "100ms"')
    pair.start()
    pair.until("it runs", lambda: "runs as" in pair.log())
    with closing(sqlite3.connect(pair.folder / "erp.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        pair.crm("UPDATE accounts SET phone = '99' WHERE id = 'a1'")

        def waits() -> Any:
            data = pair.accord("status", "--json").json["data"]
            return data if data["agent"].get("down") and data["entities"]["customer"]["pending"] else None

        data = pair.until("an edit that waits", waits)
        assert "held back by erp, which does not answer" in pair.accord("status").out
        assert pair.stop() == DONE
        holder.execute("ROLLBACK")
    assert differs(examples("status")[0], data) == ""
    assert pair.running is not None and data["agent"]["pid"] == pair.running.pid
    assert data["entities"]["customer"]["pending"][0]["records"] == 1
    alone = pair.accord("status", "--json", exits=DONE).json["data"]
    assert alone["next"] is None and alone["entities"]["customer"]["pending"][0]["next"] is None
    status = pair.accord("status", exits=DONE).out
    assert "waits for erp (down): 1 record, since" in status and "tried again when an agent runs" in status


# --- the command line ------------------------------------------------------------------------------------------------


def test_alone_it_prints_its_help(pair: Pair) -> None:
    for words in ((), ("-h",), ("--help",)):
        done = pair.accord(*words, exits=DONE)
        assert "prepare" in done.out
        assert "Keep the systems in agreement" in done.out
        assert done.err == ""
    assert pair.accord("--version", exits=DONE).out == f"accord {__version__}\n"
    assert "--once" in pair.accord("run", "-h", exits=DONE).out


def test_the_configuration_is_named_anywhere_or_found(pair: Pair) -> None:
    place = pair.folder / "accord.toml"
    for words in (("check",), ("check", "--config", str(place)), ("--config", str(pair.folder), "check")):
        assert "1 entity" in pair.accord(*words, exits=DONE).out


def test_the_schemas_judge_the_files(pair: Pair) -> None:
    import tomllib

    for which, file in (("agent", "accord.toml"), ("entity", "entities/customer.toml")):
        schema = json.loads(pair.accord("schema", which, exits=DONE).out)
        written = tomllib.loads((pair.folder / file).read_text())
        jsonschema.validate(written, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"agent": {"nmae": "x"}}, schema)
        assert pair.accord("schema", which, "--json").json["data"]["schema"] == schema


# --- prepare and unprepare -------------------------------------------------------------------------------------------


def scripts(printed: str) -> dict[str, str]:
    """What `--print` shows, by system."""
    parts = re.split(r"^-- (crm|erp)$", printed, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_printed_sql_is_all_that_a_dba_needs(pair: Pair) -> None:
    before = pair.dump()
    printed = scripts(pair.accord("prepare", "--print", exits=DONE).out)
    assert pair.dump() == before
    for _ in range(2):
        for system, sql in printed.items():
            pair.sql(f"{system}.db", sql)
    assert "prepared already" in pair.accord("prepare", exits=DONE).out
    pair.accord("run", "--once", exits=DONE)
    links = pair.crm("SELECT count(*) FROM accord_crosswalk")[0][0]
    done = pair.accord("unprepare", "--print", exits=DONE)
    assert pair.crm("SELECT count(*) FROM accord_crosswalk") == [(links,)]
    for _ in range(2):
        for system, sql in scripts(done.out).items():
            pair.sql(f"{system}.db", sql)
    assert (
        pair.sql("crm.db", "SELECT name FROM sqlite_master WHERE name LIKE 'accord%' OR sql LIKE '%accord\\_%'") == []
    )
    assert sorted(pair.crm("SELECT type, name FROM sqlite_master")) == [
        ("index", "sqlite_autoindex_accounts_1"),
        ("table", "accounts"),
    ]


def test_unprepare_asks_and_removes_every_trace(pair: Pair) -> None:
    schema = [pair.sql(f"{s}.db", "SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2") for s in ("crm", "erp")]
    pair.accord("prepare", exits=DONE)
    pair.accord("run", "--once", exits=DONE)
    links = pair.erp("SELECT count(*) FROM accord_crosswalk")[0][0]
    assert links > 0
    before = pair.dump()
    done = pair.accord("unprepare", input="y\n", exits=USAGE)  # no terminal: nobody is asked
    assert f"erp: {links} links between records will be removed." in done.out
    assert "Say --yes" in done.err
    assert pair.dump() == before
    assert "erp: removed." in pair.accord("unprepare", "--yes", exits=DONE).out
    assert [
        pair.sql(f"{s}.db", "SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2") for s in ("crm", "erp")
    ] == schema
    assert "0 links" in pair.accord("unprepare", "--yes", exits=DONE).out


def test_unprepare_works_when_the_mapping_fits_no_more(pair: Pair) -> None:
    pair.accord("prepare", exits=DONE)
    pair.edit("entities/customer.toml", 'table = "party"', 'table = "gone"')
    pair.accord("prepare", exits=USAGE)
    pair.accord("unprepare", "--yes", exits=DONE)
    assert pair.erp("SELECT name FROM sqlite_master WHERE name LIKE 'accord%'") == []


def test_unprepare_removes_nothing_while_a_system_is_down(pair: Pair) -> None:
    pair.accord("prepare", exits=DONE)
    (pair.folder / "erp.db").rename(pair.folder / "away.db")
    before = pair.crm("SELECT name FROM sqlite_master")
    pair.accord("unprepare", "--yes", exits=UNREACHABLE)
    assert pair.crm("SELECT name FROM sqlite_master") == before


def test_a_mapping_that_has_changed_is_to_be_prepared_again(pair: Pair) -> None:
    pair.accord("prepare", exits=DONE)
    pair.edit("entities/customer.toml", 'phone = { crm = "phone", erp = "tel" }\n', "")
    assert "accord prepare" in pair.accord("check", exits=LOOK).err
    assert "accord prepare" in pair.accord("run", "--once", exits=LOOK).err
    assert "crm: prepared." in pair.accord("prepare", exits=DONE).out
    pair.accord("check", exits=DONE)


def test_from_check_to_agreement_on_servers(pair: Pair, postgres: PostgresServer, mariadb: MariaServer) -> None:
    crm, erp = mariadb.create_database(), postgres.create_database()
    pair.write("secret", PASSWORD)
    (pair.folder / "secret").chmod(0o600)
    for url, old in ((mariadb.url(crm), "sqlite:crm.db"), (postgres.url(erp), "sqlite:erp.db")):
        pair.edit("accord.toml", f'"{old}"', f'"{url}"\npassword = "file:secret"')
    with (
        closing(mariadb.connect(crm)) as maria,
        closing(postgres.connect(erp)) as pg,
        closing(maria.cursor()) as cursor,
    ):
        cursor.execute(
            "CREATE TABLE accounts (id char(36) PRIMARY KEY, name text, email varchar(99), phone varchar(20))"
        )
        cursor.execute("INSERT INTO accounts VALUES ('a1', 'Acme', 'i@acme', '1'), ('a2', 'Bolt', 'i@bolt', '2')")
        pg.execute(
            "CREATE TABLE party (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, pname text, mail text, tel text)"
        )
        pg.execute("INSERT INTO party (pname, mail, tel) VALUES ('Acme', 'i@acme', '1'), ('Dog', 'i@dog', '9')")
        assert "not prepared yet" in pair.accord("check", exits=DONE).out
        pair.accord("prepare", exits=DONE)
        out = pair.accord("check", exits=DONE).out
        assert out.count("; prepared.") == 2
        pair.accord("run", "--once", exits=DONE)
        cursor.execute("SELECT name, email, phone FROM accounts ORDER BY email")
        rows = pg.execute("SELECT pname, mail, tel FROM party ORDER BY mail").fetchall()
        assert list(cursor.fetchall()) == rows
        assert [mail for _, mail, _ in rows] == ["i@acme", "i@bolt", "i@dog"]
        pair.accord("unprepare", "--yes", exits=DONE)
        cursor.execute("SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE()")
        assert cursor.fetchone() == (1,)
        assert pg.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'accord'").fetchone() == (0,)
    mariadb.drop_database(crm)
    postgres.drop_database(erp)
