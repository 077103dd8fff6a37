"""The forms of single values: durations, rules, constants, urls."""

from __future__ import annotations

from datetime import date, time
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import values
from config.urls import parse_url


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("250ms", 250_000),
        ("30s", 30_000_000),
        ("15m", 900_000_000),
        ("2h", 7_200_000_000),
        ("1d", 86_400_000_000),
    ],
)
def test_a_duration_is_microseconds(text: str, microseconds: int) -> None:
    assert values.read_duration(text) == microseconds


@given(st.integers(1, 999_999), st.sampled_from(list(values.UNITS)))
def test_a_duration_written_is_read_back(number: int, unit: str) -> None:
    length = values.read_duration(f"{number}{unit}")
    assert values.read_duration(values.write_duration(length)) == length


@pytest.mark.parametrize(
    "value", ["", "30", "s", "-1s", "1.5s", "1 s", "0s", "1w", 30, True, None, ["1s"], "1s\n", "٣s"]
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        values.read_duration(value)


def test_a_number_of_seconds_is_told_how_to_be_written() -> None:
    with pytest.raises(ValueError, match=r'got 30\. Write "30s" for seconds\.$'):
        values.read_duration(30)


def test_a_window_may_be_off() -> None:
    assert values.read_window("off") == 0
    assert values.read_window("1h") == 3_600_000_000
    with pytest.raises(ValueError, match='or "off", got "never"'):
        values.read_window("never")


def test_a_flat_list_of_match_fields_is_shown_both_forms_that_it_may_have_meant() -> None:
    with pytest.raises(ValueError, match="expected a list of rules") as e:
        values.read_rules(["vat_id", "email"])
    assert '[["vat_id"], ["email"]] (any of them)' in str(e.value)
    assert '[["vat_id", "email"]] (all of them at once)' in str(e.value)


@pytest.mark.parametrize("value", [[[]], [["a"], "b"], [["a", "a"]], [[1]], 5, {"a": "b"}])
def test_what_is_no_list_of_rules_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"expected|listed twice|match everything"):
        values.read_rules(value)


def test_constants_are_scalars_and_sql() -> None:
    written = {
        "a": 1,
        "b": True,
        "c": "x",
        "d": Decimal("1.10"),
        "e": date(2026, 1, 2),
        "f": "sql:now()",
        "g": time(8, 30),
    }
    assert values.read_constants(written) == written | {"g": "08:30:00"}


@pytest.mark.parametrize("value", [[1], {"x": 1}, "sql:", "sql:  ", Decimal("nan"), Decimal("-inf"), None])
def test_what_no_database_can_hold_is_no_constant(value: object) -> None:
    with pytest.raises(values.Wrong) as e:
        values.read_constants({"active": value})
    assert e.value.at == ("active",)


@pytest.mark.parametrize("value", ["latest", "sum", "review", "prefer:crm"])
def test_conflict_rules(value: str) -> None:
    assert values.read_conflict(value) == value


@pytest.mark.parametrize("value", ["newest", "prefer", "prefer:", "prefer: ", 1])
def test_what_is_no_conflict_rule_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match='expected one of "latest"'):
        values.read_conflict(value)


@pytest.mark.parametrize("value", ["decimal()", "decimal(-1)", "decimal(2", "money", "text(3)", 2])
def test_what_is_no_type_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match='expected one of "text"'):
        values.read_type(value)


@pytest.mark.parametrize("value", ["sql:(select 1)", "= upper(x)", "", 1, ["a"], {}, {"column": 1}])
def test_a_place_is_a_column(value: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        values.read_column(value)


def test_a_name_is_suggested_whatever_its_case() -> None:
    assert values.nearest("TABLE", ["table", "key"]) == "table"
    assert values.nearest("tabel", ["table", "key"]) == "table"
    assert values.nearest("zzz", ["table", "key"]) is None


# --- urls ------------------------------------------------------------------------------------------------------------


def test_a_url_of_a_server_is_taken_apart() -> None:
    assert parse_url("mariadb://acc%40ord@db.example/crm", Path("/etc")) == (
        "mysql",
        {
            "host": "db.example",
            "port": 3306,
            "user": "acc@ord",
            "database": "crm",
            "socket": None,
            "options": {},
        },
    )
    dialect, target = parse_url("postgresql://a@[::1]:6432/erp?socket=/run/pg&sslmode=verify-full", Path("/etc"))
    assert (dialect, target["host"], target["port"]) == ("postgresql", "::1", 6432)
    assert (target["socket"], target["options"]) == ("/run/pg", {"sslmode": "verify-full"})
    assert parse_url("postgresql:///erp", Path("/"))[1]["user"] is None


def test_a_sqlite_file_starts_at_the_folder_of_the_configuration() -> None:
    assert parse_url("sqlite:crm.db", Path("/etc/accord")) == ("sqlite", {"path": Path("/etc/accord/crm.db")})
    assert parse_url("sqlite:/var/crm.db", Path("/etc/accord"))[1] == {"path": Path("/var/crm.db")}
    assert parse_url("sqlite:///var/crm.db", Path("/etc/accord"))[1] == {"path": Path("/var/crm.db")}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgres://a@h/d", 'Did you mean "postgresql"'),
        ("mysq://a@h/d", 'Did you mean "mysql"'),
        ("oracle://a@h/d", '"oracle:" is not known'),
        ("crm.db", "expected a url like"),
        ("postgresql:a@h/d", '"//" is missing'),
        ("postgresql://a@h", "expected one database"),
        ("postgresql://a@h/d/e", "expected one database"),
        ("postgresql://a@h:none/d", "host or the port"),
        ("postgresql://a@[h/d", "host or the port"),
        ("mysql://a@h/d?sslmode=require", 'unknown option "sslmode"'),
        ("sqlite:", "the path of a SQLite file"),
        ("sqlite::memory:", "the path of a SQLite file"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("?", r"\?")):
        parse_url(url, Path("/"))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://a:hunter2@h/d",
        "postgres://a:hunter2@h/d",
        "mysql://a:hunter2/x@h/d",
        "mysql://a:x/hunter2@h/d",
        "mysql://a:hunter2@[h/d",
        "a:hunter2@h/d",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as e:
        parse_url(url, Path("/"))
    assert "hunter2" not in str(e.value)
