"""`accord run`, the real process: it stops as asked, answers while it runs, and there is one of it."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent import requests
from config.errors import DEFECT, DONE, INTERRUPTED, LOOK, TAKEN, UNREACHABLE, ConfigError, Transient
from tests.integration.pair import Pair

ENTITY = "entities/customer.toml"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path) as pair:
        pair.accord("prepare", exits=DONE)
        yield pair


def agreed(pair: Pair, mail: str) -> bool:
    """Both hold one such customer, and hold the same."""
    rows = [
        pair.crm("SELECT name, phone FROM accounts WHERE email = ?", mail),
        pair.erp("SELECT pname, tel FROM party WHERE mail = ?", mail),
    ]
    return len(rows[0]) == 1 and rows[0] == rows[1]


def test_it_follows_edits_until_it_is_asked_to_stop(pair: Pair) -> None:
    pair.start("--json")
    pair.until("first contact", lambda: agreed(pair, "i@bolt") and agreed(pair, "i@dog"))
    pair.erp("UPDATE party SET tel = '4711' WHERE mail = ?", "i@acme")
    pair.until("an edit", lambda: pair.crm("SELECT 1 FROM accounts WHERE email = 'i@acme' AND phone = '4711'"))
    assert pair.stop() == DONE
    log = pair.log()
    assert 'runs as "acme": crm, erp; customer' in log
    assert "crm: 1 updated" in log
    assert log.rstrip().endswith("stopped.")
    lines = [json.loads(line) for line in (pair.folder / "run.out").read_text().splitlines()]
    assert {"crm": {"update": 1}} in [line["data"]["written"] for line in lines]
    numbers = [line["data"]["round"] for line in lines]
    assert numbers == sorted(set(numbers)), "one line for each round that did something"
    assert not (pair.folder / "state.db.sock").exists()


def test_it_writes_nothing_when_nobody_edits(pair: Pair) -> None:
    pair.accord("run", "--once", exits=DONE)
    before = pair.dump()
    rounds = pair.sql("state.db", "SELECT number FROM round")
    done = pair.accord("run", "--once", "--json", exits=DONE)
    assert [json.loads(line)["data"]["settled"]["rounds"] for line in done.out.splitlines()] == [0]
    after = [line for line in pair.dump() if "accord_fence" not in line]  # the epoch was raised (I9)
    assert after == [line for line in before if "accord_fence" not in line]
    assert pair.sql("state.db", "SELECT number FROM round") == rounds


def test_interrupted_once_it_finishes_the_round(pair: Pair) -> None:
    pair.start()
    pair.until("first contact", lambda: agreed(pair, "i@bolt"))
    assert pair.stop(signal.SIGINT) == DONE


def test_interrupted_twice_it_ends_at_once(pair: Pair) -> None:
    pair.edit("accord.toml", 'url = "sqlite:erp.db"', 'url = "sqlite:erp.db"\nlock_timeout = "5m"')
    pair.start()
    pair.until("first contact", lambda: agreed(pair, "i@bolt") and agreed(pair, "i@dog"))
    with closing(sqlite3.connect(pair.folder / "erp.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")  # a round has to wait for the application's transaction
        pair.crm("UPDATE accounts SET phone = '99' WHERE id = 'a1'")
        pair.until("it is in a round", lambda: busy(pair))
        assert pair.running is not None
        pair.running.send_signal(signal.SIGINT)
        pair.until("it heard", lambda: "ends after this round" in pair.log())
        assert pair.stop(signal.SIGINT) == INTERRUPTED
        holder.execute("ROLLBACK")
    pair.accord("run", "--once", exits=DONE)
    assert pair.erp("SELECT tel FROM party WHERE mail = 'i@acme'") == [("99",)]


def busy(pair: Pair) -> bool:
    """It does not answer at once."""
    try:
        requests.ask(pair.folder / "state.db", {"do": "status"}, 1.0)
    except Transient:
        return True
    return False


def test_there_is_one_agent(pair: Pair) -> None:
    agent = pair.start()
    pair.until("it runs", lambda: "runs as" in pair.log())
    done = pair.accord("run", "--once", exits=TAKEN)
    assert f'held by agent "acme" (process {agent.pid})' in done.err
    assert f"kill {agent.pid}" in done.err
    done = pair.accord("unprepare", "--yes", exits=TAKEN)
    assert f"process {agent.pid}" in done.err
    assert pair.crm("SELECT count(*) FROM accord_crosswalk") != []


def test_an_agent_with_another_state_takes_over_and_the_older_one_halts(pair: Pair) -> None:
    pair.start()
    pair.until("first contact", lambda: agreed(pair, "i@bolt") and agreed(pair, "i@dog"))
    other = pair.folder / "other"
    shutil.copytree(pair.folder / "entities", other / "entities")
    (other / "accord.toml").write_text((pair.folder / "accord.toml").read_text().replace("sqlite:", "sqlite:../"))
    pair.accord("run", "--once", "--config", "other", exits=DONE)
    pair.crm("UPDATE accounts SET phone = '55' WHERE id = 'a1'")
    assert pair.running is not None
    assert pair.running.wait(60) == TAKEN
    assert "has started since" in pair.log()


def test_a_killed_agent_leaves_nothing_in_the_way(pair: Pair) -> None:
    pair.start()
    pair.until("it runs", lambda: (pair.folder / "state.db.sock").exists())
    pair.stop(signal.SIGKILL)
    assert (pair.folder / "state.db.sock").exists()
    assert requests.ask(pair.folder / "state.db", {"do": "status"}) is None
    assert "No agent runs" in pair.accord("status").out
    pair.accord("run", "--once", exits=DONE)
    assert agreed(pair, "i@dog")


# --- requests --------------------------------------------------------------------------------------------------------


def test_requests_are_answered_while_it_runs(pair: Pair) -> None:
    agent = pair.start()
    path = pair.folder / "state.db.sock"
    pair.until("it listens", path.exists)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    answer = requests.ask(pair.folder / "state.db", {"do": "status"})
    assert answer is not None
    assert answer["pid"] == agent.pid
    with pytest.raises(ConfigError, match="does not know this request"):
        requests.ask(pair.folder / "state.db", {"do": "dance"})
    for text in (b"\n", b"no json\n", b"[1]\n"):
        raw(path, text)
    again = requests.ask(pair.folder / "state.db", {"do": "status"})
    assert again is not None
    assert {**again, "complete": {}} == {**answer, "complete": {}}
    assert pair.stop() == DONE


def raw(path: Path, text: bytes) -> None:
    """Somebody who knows nothing of the protocol."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(path))
        line.sendall(text)


def test_a_folder_of_a_very_long_name(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-folder-of-a-long-name"] * 5)
    deep.mkdir(parents=True)
    with Pair(deep) as pair:
        pair.accord("prepare", exits=DONE)
        agent = pair.start()
        pair.until("it listens", (deep / "state.db.sock").exists)
        answer = requests.ask(deep / "state.db", {"do": "status"})
        assert answer is not None
        assert answer["pid"] == agent.pid


# --- what is left ----------------------------------------------------------------------------------------------------


def test_a_first_contact_that_is_held(pair: Pair) -> None:
    pair.edit(ENTITY, 'first_contact = "auto"\n', "")
    before = pair.dump()
    done = pair.accord("run", "--once", exits=LOOK)
    assert "First contact of customer is held" in done.out
    assert "accord plan --accept" in done.out
    assert [line for line in pair.dump() if "accord_fence" not in line] == [
        line for line in before if "accord_fence" not in line
    ]
    pair.start()
    pair.until("it says so", lambda: "First contact of customer is held" in pair.log())
    pair.accord("plan", "--accept")
    pair.until("the running agent goes on", lambda: agreed(pair, "i@bolt") and agreed(pair, "i@dog"))
    assert pair.stop() == DONE


def test_a_question_that_is_left(pair: Pair) -> None:
    pair.crm("INSERT INTO accounts VALUES ('a3', 'Acme Two', 'i@acme', '3', NULL)")
    done = pair.accord("run", "--once", exits=LOOK)
    assert "for a person: `accord review`" in done.out
    assert agreed(pair, "i@bolt"), "the rest goes on"
    assert pair.accord("status", exits=LOOK).out.count("in review") >= 1


def test_a_system_that_goes_away_and_comes_back(pair: Pair) -> None:
    pair.start()
    pair.until("first contact", lambda: agreed(pair, "i@bolt") and agreed(pair, "i@dog"))
    assert pair.stop() == DONE
    with closing(sqlite3.connect(pair.folder / "erp.db", isolation_level=None)) as holder:
        pair.edit("accord.toml", 'url = "sqlite:erp.db"', 'url = "sqlite:erp.db"\nlock_timeout = "100ms"')
        pair.start()
        pair.until("it runs", lambda: pair.log().count("runs as") == 2)
        holder.execute("BEGIN EXCLUSIVE")
        pair.crm("UPDATE accounts SET phone = '99' WHERE id = 'a1'")
        pair.until("it says so", lambda: "erp does not answer" in pair.log())
        status = pair.until("status says so", lambda: down(pair))
        assert "erp does not answer since" in status
        holder.execute("ROLLBACK")
    pair.until("it follows", lambda: pair.erp("SELECT 1 FROM party WHERE mail = 'i@acme' AND tel = '99'"))
    pair.until("it says so", lambda: "erp answers again" in pair.log())
    assert pair.stop() == DONE


def down(pair: Pair) -> str | None:
    done = pair.accord("status")
    return done.out if done.code == LOOK else None


def test_once_with_a_system_that_stays_away(pair: Pair) -> None:
    pair.accord("run", "--once", exits=DONE)
    pair.edit("accord.toml", 'url = "sqlite:erp.db"', 'url = "sqlite:erp.db"\nlock_timeout = "100ms"')
    with closing(sqlite3.connect(pair.folder / "erp.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        done = pair.accord("run", "--once", exits=UNREACHABLE)
        assert "erp: " in done.err
        holder.execute("ROLLBACK")


BROKEN = """
import agent.cli, agent.commands.status as status
status.session.open_config = lambda out: 1 / 0
agent.cli.main(["status"])
"""


def test_a_defect_is_one_sentence_and_a_file(pair: Pair) -> None:
    place = pair.place()
    place["env"]["TMPDIR"] = str(pair.folder)
    done = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True, **place)
    assert done.returncode == DEFECT
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    (file,) = pair.folder.glob("accord-defect-*")
    assert str(file) in done.stderr
    assert "ZeroDivisionError" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
