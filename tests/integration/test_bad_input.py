"""Whatever people get wrong: a clear message with its place and what to do, an exit code, and nothing is written."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from config.errors import DONE, LOOK, UNREACHABLE, USAGE
from tests.integration.documented import differs, examples
from tests.integration.pair import Pair
from tests.servers import PASSWORD, MariaServer, PostgresServer, free_port

ENTITY = "entities/customer.toml"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path) as pair:
        yield pair


class Case(NamedTuple):
    """Something wrong in the files: what is done to them, what is blamed, and words that must be said of it."""

    spoil: Callable[[Pair], None]
    blamed: str | None  # a piece of the line that the message must name
    words: tuple[str, ...]
    file: str = ENTITY


def edited(old: str, new: str, *words: str, file: str = ENTITY, blamed: str | None = None) -> Case:
    """One text replaced by another; the message names its first line."""
    return Case(lambda pair: pair.edit(file, old, new), blamed or new.splitlines()[0], words, file)


def with_order(fields: str, erp_null: str = "") -> Callable[[Pair], None]:
    """A second entity, with tables of its own."""

    def spoil(pair: Pair) -> None:
        pair.crm(f"CREATE TABLE orders (id INTEGER PRIMARY KEY, number TEXT, account TEXT {erp_null})")
        pair.erp(f"CREATE TABLE sale (id INTEGER PRIMARY KEY, number TEXT, party INTEGER {erp_null})")
        tables = '[order]\nmatch = [["number"]]\n[order.crm]\ntable = "orders"\n[order.erp]\ntable = "sale"\n'
        pair.write("entities/order.toml", f"{tables}[order.fields]\n{fields}\n")

    return spoil


def circle(pair: Pair) -> None:
    """Customers need an order, orders need a customer; a reference to the record's own entity is fine."""
    with_order(
        'number = { crm = "number", erp = "number" }\nbuyer = { crm = "account", erp = "party", ref = "customer" }'
    )(pair)
    for sql, table, column in ((pair.crm, "orders", "account TEXT"), (pair.erp, "sale", "party INTEGER")):
        sql(f"DROP TABLE {table}")
        sql(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, number TEXT, {column} NOT NULL)")
    pair.crm("DROP TABLE accounts")
    text = "CREATE TABLE accounts (id TEXT PRIMARY KEY, name TEXT, email TEXT, phone TEXT, first INT NOT NULL, up TEXT)"
    pair.crm(text)
    pair.erp("DROP TABLE party")
    text = "CREATE TABLE party (id INTEGER PRIMARY KEY, pname TEXT, mail TEXT, tel TEXT, first INT NOT NULL, up INT)"
    pair.erp(text)
    more = (
        'first = { crm = "first", erp = "first", ref = "order" }\nup = { crm = "up", erp = "up", ref = "customer" }\n'
    )
    text = (pair.folder / ENTITY).read_text()
    pair.write(ENTITY, text + more)


def keyless(pair: Pair) -> None:
    pair.erp("DROP TABLE party")
    pair.erp("CREATE TABLE party (id INTEGER, pname TEXT, mail TEXT, tel TEXT)")


FILES = {
    "column": edited('phone = { crm = "phone"', 'phone = { crm = "phon"', "no column", 'Did you mean "phone"?'),
    "table": edited('table = "party"', 'table = "partyy"', "no table", 'Did you mean "party"?'),
    "twice": edited('erp = "tel"', 'erp = "mail"', "mail", "email", blamed='phone = { crm = "phone"'),
    "unknown ref": Case(
        with_order(
            'number = { crm = "number", erp = "number" }\nbuyer = { crm = "account", erp = "party", ref = "custmer" }'
        ),
        "custmer",
        ("custmer", 'Did you mean "customer"?'),
        "entities/order.toml",
    ),
    "circle": Case(circle, None, ("circle", "customer -> order -> customer", "Let one of the columns be empty")),
    "match": edited('match = [["email"]]', 'match = [["emial"]]', "emial", 'Did you mean "email"?'),
    "key": edited(
        'table = "party"', 'table = "party"\nkey = "mail"', "not unique", "primary key is id", blamed='key = "mail"'
    ),
    "type": edited(
        'phone = { crm = "phone", erp = "tel" }', 'phone = { crm = "born", erp = "tel", type = "bytes" }', "bytes"
    ),
    "types apart": edited(
        'phone = { crm = "phone", erp = "tel" }',
        'phone = { crm = "born", erp = "place" }',
        "different types",
        "type = ",
    ),
    "no primary key": Case(keyless, 'table = "party"', ("no primary key", 'key = "')),
    "garbage": Case(lambda p: p.write(ENTITY, '[customer\nmatch = "'), None, ("no valid TOML",)),
    "binary": Case(lambda p: (p.folder / "accord.toml").write_bytes(b"\xff\xfe\x00["), None, ("UTF-8",), "accord.toml"),
    "system": edited("[customer.erp]", "[customer.epr]", "epr", 'Did you mean "erp"?'),
    "key word": edited('table = "party"', 'tabel = "party"', "unknown key", 'Did you mean "table"?'),
    "state folder": edited('"state.db"', '"nowhere/state.db"', "nowhere", "`state`", file="accord.toml"),
}


@pytest.mark.parametrize("command", ["check", "run --once"])
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_wrong(pair: Pair, name: str, command: str) -> None:
    case = FILES[name]
    case.spoil(pair)
    before = pair.dump()
    done = pair.accord(*command.split(), exits=USAGE)
    for word in case.words:
        assert word in done.err, done.err
    if not (name == "state folder" and command == "run --once"):  # by then it is a file's name, not a line's
        assert f"{case.file}:" in done.err, done.err
    if case.blamed is not None and name != "state folder":
        assert f"{case.file}:{pair.line(case.file, case.blamed)}: " in done.err, done.err
    assert pair.dump() == before
    assert not (pair.folder / "state.db").exists()


def test_everything_that_is_wrong_is_said_at_once(pair: Pair) -> None:
    pair.edit(ENTITY, 'crm = "phone"', 'crm = "phon"')
    pair.edit(ENTITY, 'erp = "pname"', 'erp = "pnam"')
    pair.edit("accord.toml", "sqlite:crm.db", "sqlite:cmr.db")
    done = pair.accord("check", exits=USAGE)
    for words in ("no column 'pnam'", "there is no file"):
        assert words in done.err, "also when a system is down"
    pair.edit("accord.toml", "sqlite:cmr.db", "sqlite:crm.db")
    done = pair.accord("check", "--json", exits=USAGE)
    assert [(p["file"], p["line"], p["field"]) for p in done.json["problems"]] == [
        (ENTITY, pair.line(ENTITY, "pnam"), "name"),
        (ENTITY, pair.line(ENTITY, "phon"), "phone"),
    ]


def test_no_configuration_at_all(pair: Pair, tmp_path: Path) -> None:
    (pair.folder / "accord.toml").unlink()
    assert "--config PATH" in pair.accord("status", exits=USAGE).err
    assert "nope.toml" in pair.accord("run", "--config", "nope.toml", exits=USAGE).err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run --onse", 'accord run: there is no option "--onse". Did you mean "--once"?'),
        ("chek", 'there is no command "chek". Did you mean "check"?'),
        ("--versio", 'Did you mean "--version"?'),
        ("run now", "unexpected extra argument"),
        ("schema agnet", "agnet"),
        ("schema --config", "requires an argument"),
        ("status --only custmer", 'Did you mean "customer"?'),
        ("check --only custmer", 'Did you mean "customer"?'),
    ],
)
def test_a_mistyped_command_line(pair: Pair, words: str, said: str) -> None:
    before = pair.dump()
    done = pair.accord(*words.split(), exits=USAGE)
    assert said in done.err
    assert done.out == ""
    done = pair.accord(words.split()[0], "--json", *words.split()[1:], exits=USAGE)
    assert said in done.json["problems"][0]["message"]
    assert pair.dump() == before


def test_objects_that_are_not_prepared(pair: Pair) -> None:
    before = pair.dump()
    done = pair.accord("run", "--once", exits=LOOK)
    assert "crm: " in done.err
    assert "erp: " in done.err
    assert "Run `accord prepare`" in done.err
    assert pair.dump() == before
    assert not (pair.folder / "state.db").exists()
    assert "not prepared yet" in pair.accord("check", exits=DONE).out
    pair.accord("prepare", exits=DONE)
    pair.crm("DROP TRIGGER accord_accounts_update")
    assert "accord_accounts_update is missing" in pair.accord("check", exits=LOOK).err
    assert "accord_accounts_update is missing" in pair.accord("run", exits=LOOK).err


def test_a_newer_state_file(pair: Pair) -> None:
    pair.accord("prepare", exits=DONE)
    pair.accord("run", "--once", exits=DONE)
    pair.sql("state.db", "PRAGMA user_version = 999")
    pair.crm("UPDATE accounts SET phone = '77'")
    before = pair.dump()
    for command in ("run", "status", "check"):
        done = pair.accord(command, exits=USAGE)
        assert "newer Accord" in done.err
        assert "Install that version again" in done.err
    assert pair.dump() == before


def test_a_state_that_is_something_else(pair: Pair) -> None:
    pair.accord("prepare", exits=DONE)
    pair.edit("accord.toml", '"state.db"', '"crm.db"')
    before = pair.dump()
    done = pair.accord("run", "--once", exits=USAGE)
    assert "not a state file" in done.err
    assert pair.dump() == before


def test_a_state_folder_that_cannot_be_written(pair: Pair) -> None:
    (pair.folder / "place").write_text("a file, and no folder")
    pair.edit("accord.toml", '"state.db"', '"place/state.db"')
    pair.accord("prepare", exits=DONE)
    before = pair.dump()
    done = pair.accord("run", "--once", exits=USAGE)
    assert "place/state.db cannot be opened for writing" in done.err
    assert "name another file as `state`" in done.err
    assert "name another file as `state`" in pair.accord("check", exits=USAGE).err
    assert pair.dump() == before


def test_a_system_that_is_down_at_the_start(pair: Pair) -> None:
    pair.accord("prepare", exits=DONE)
    (pair.folder / "erp.db").rename(pair.folder / "away.db")
    before = pair.crm("SELECT * FROM accounts")
    for words in ("run --once", "check", "prepare"):
        done = pair.accord(*words.split(), exits=UNREACHABLE)
        assert "erp: there is no file" in done.err
        assert "What to do: check the path" in done.err
    pair.start()
    pair.until("it says what it waits for", lambda: "waiting for erp: there is no file" in pair.log())
    waits = pair.accord("status", "--json", exits=LOOK).json["data"]["agent"]
    assert differs(examples("status")[0]["agent"], waits) == "" and waits["starting"] is True
    assert waits["down"].keys() == {"erp"} and "there is no file" in waits["down"]["erp"]["message"]
    text = pair.accord("status", exits=LOOK).out
    assert "It waits for erp before it can begin" in text and "erp does not answer since " in text
    assert pair.crm("SELECT * FROM accounts") == before
    assert not (pair.folder / "erp.db").exists(), "no empty file in its place"
    (pair.folder / "away.db").rename(pair.folder / "erp.db")
    pair.until("the CRM's customer in the ERP", lambda: pair.erp("SELECT 1 FROM party WHERE mail = 'i@bolt'"))
    assert pair.stop() == DONE


def test_a_question_is_answered_while_a_system_is_waited_for(pair: Pair) -> None:
    """The answer goes into the state, and the tries begin anew at once; when the system is back, it is carried out."""
    pair.edit(ENTITY, 'tel" }', 'tel", conflict = "review" }')
    pair.accord("prepare", exits=DONE)
    pair.accord("run", "--once", exits=DONE)
    pair.crm("UPDATE accounts SET phone = '7' WHERE id = 'a1'")
    pair.erp("UPDATE party SET tel = '8' WHERE mail = 'i@acme'")
    pair.accord("run", "--once", exits=LOOK)
    (item,) = pair.accord("review", "--json", exits=LOOK).json["data"]["items"]
    (pair.folder / "erp.db").rename(pair.folder / "away.db")
    pair.start()
    pair.until("it waits", lambda: pair.log().count("waiting for erp") == 1)
    first = pair.accord("status", "--json").json["data"]["agent"]["down"]["erp"]["since"]
    pair.accord("review", "resolve", item["id"], "--take", "erp", exits=DONE)
    down = pair.accord("status", "--json").json["data"]["agent"]["down"]["erp"]
    assert down["since"] == first
    (pair.folder / "away.db").rename(pair.folder / "erp.db")
    pair.accord("review", "retry", "--all", exits=DONE)
    pair.until("the answer in the CRM", lambda: pair.crm("SELECT 1 FROM accounts WHERE id = 'a1' AND phone = '8'"))
    assert pair.accord("status", "--json", exits=DONE).json["data"]["agent"]["starting"] is False
    assert pair.stop() == DONE


def test_asked_to_stop_while_it_waits_for_a_system(pair: Pair) -> None:
    (pair.folder / "erp.db").rename(pair.folder / "away.db")
    pair.start()
    pair.until("it waits", lambda: "waiting for erp" in pair.log())
    assert pair.stop(signal.SIGINT) == DONE


# --- servers ---------------------------------------------------------------------------------------------------------


class Erp(NamedTuple):
    """The ERP on a server, and an account that may do nothing yet."""

    sql: Callable[[str], list[Any]]  # as the administrator
    user: str


@pytest.fixture(params=["postgresql", "mariadb"])
def erp(request: pytest.FixtureRequest, pair: Pair) -> Iterator[Erp]:
    """The ERP of the pair moves to a server."""
    server: PostgresServer | MariaServer = request.getfixturevalue(
        {"postgresql": "postgres", "mariadb": "mariadb"}[request.param]
    )
    database, user = server.create_database(), server.create_user(f"keeper{abs(hash(pair.folder)) % 10**9}")
    with closing(server.connect(database)) as connection:

        def sql(text: str) -> list[Any]:
            with connection.cursor() as cursor:
                cursor.execute(text)
                return list(cursor.fetchall()) if cursor.description else []

        generated = "int GENERATED BY DEFAULT AS IDENTITY" if request.param == "postgresql" else "int AUTO_INCREMENT"
        sql(f"CREATE TABLE party (id {generated} PRIMARY KEY, pname varchar(60), mail varchar(60), tel varchar(60))")
        sql("INSERT INTO party (pname, mail, tel) VALUES ('Acme', 'i@acme', '1')")
        pair.write("secret", PASSWORD)
        (pair.folder / "secret").chmod(0o600)
        pair.edit("accord.toml", '"sqlite:erp.db"', f'"{server.url(database, user)}"\npassword = "file:secret"')
        yield Erp(sql, user)
    server.drop_database(database)


def left_alone(erp: Erp) -> bool:
    """The row as it was, and nothing of Accord's."""
    made = erp.sql(
        "SELECT t.table_name FROM information_schema.tables t JOIN information_schema.tables own "
        "ON own.table_catalog = t.table_catalog AND own.table_name = 'party' AND own.table_schema IN (t.table_schema, "
        "'public') WHERE t.table_name LIKE 'accord%'"
    )
    rows = [tuple(row) for row in erp.sql("SELECT pname, mail, tel FROM party")]
    return rows == [("Acme", "i@acme", "1")] and not made


def test_a_wrong_password(pair: Pair, erp: Erp) -> None:
    pair.write("secret", "guessed")
    before = pair.dump()
    for words in ("check", "prepare", "run --once"):
        done = pair.accord(*words.split(), exits=UNREACHABLE)
        assert erp.user in done.err, "the server's own words"
        assert "What to do: " in done.err
        assert "guessed" not in done.all
    assert pair.dump() == before
    assert left_alone(erp)


def test_a_password_file_that_others_may_read(pair: Pair, erp: Erp) -> None:
    (pair.folder / "secret").chmod(0o644)
    for words in ("check", "run --once"):
        done = pair.accord(*words.split(), exits=USAGE)
        assert f"accord.toml:{pair.line('accord.toml', 'password =')}: systems.erp.password" in done.err
        assert "chmod 600" in done.err
    assert left_alone(erp)


def test_a_missing_privilege(pair: Pair, erp: Erp) -> None:
    before = pair.dump()
    may_read(pair, erp)
    done = pair.accord("check", exits=LOOK)
    assert "erp" in done.err
    assert "GRANT" in done.err, "what an administrator has to say"
    done = pair.accord("prepare", exits=LOOK)
    assert "erp" in done.err
    assert left_alone(erp)
    done = pair.accord("run", "--once", exits=LOOK)
    assert "Run `accord prepare`" in done.err
    assert left_alone(erp)
    assert [line for line in pair.dump() if "accord" not in line] == before, "at most its own objects in the CRM"


def may_read(pair: Pair, erp: Erp) -> None:
    erp.sql("GRANT SELECT ON party TO " + (f'"{erp.user}"' if is_postgres(pair) else f"'{erp.user}'@'%'"))


def is_postgres(pair: Pair) -> bool:
    return "postgresql://" in (pair.folder / "accord.toml").read_text()


def test_a_server_that_is_not_there(pair: Pair, erp: Erp) -> None:
    port = re.findall(r":(\d+)/", (pair.folder / "accord.toml").read_text())[0]
    pair.edit("accord.toml", f":{port}/", f":{free_port()}/")
    before = pair.dump()
    for words in ("check", "prepare", "run --once"):
        done = pair.accord(*words.split(), exits=UNREACHABLE)
        assert "erp: " in done.err
        assert "What to do: check host and port" in done.err
    pair.start()
    pair.until("it says what it waits for", lambda: "waiting for erp: " in pair.log())
    assert pair.stop() == DONE
    assert pair.dump() == before


def test_a_column_of_a_type_that_accord_does_not_know(pair: Pair, erp: Erp) -> None:
    erp.sql("ALTER TABLE party ADD place point")
    may_read(pair, erp)
    pair.edit(ENTITY, 'erp = "tel"', 'erp = "place"')
    done = pair.accord("check", exits=USAGE)
    at = pair.line(ENTITY, 'erp = "place"')
    assert f"{ENTITY}:{at}: customer.fields.phone.erp: party.place in erp has a type" in done.err
    assert "point" in done.err
