"""What a valid configuration becomes, where it is found, and where its keys stand."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from config import find
from config.errors import ConfigError
from config.load import load

EXAMPLES = Path(__file__).parents[2] / "config" / "examples"

ACCORD = """[agent]
name = "pilot"
[systems.crm]
url = "sqlite:crm.db"
[systems.erp]
url = "sqlite:erp.db"
"""
ENTITY = """[{name}]
match = [["name"]]
[{name}.crm]
table = "c"
[{name}.erp]
table = "e"
[{name}.fields]
name = {{ crm = "n", erp = "n" }}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "entities").mkdir()
    (tmp_path / "accord.toml").write_text(ACCORD)
    (tmp_path / "entities" / "customer.toml").write_text(ENTITY.format(name="customer"))
    return tmp_path


# --- what it becomes -------------------------------------------------------------------------------------------------


def test_defaults(folder: Path) -> None:
    config = load(folder, {}, folder)
    agent, crm, customer = config.agent, config.systems["crm"], config.entities["customer"]
    assert (agent.name, agent.prefix, agent.batch) == ("pilot", "accord", 2000)
    assert (agent.poll, agent.tolerance) == (1_000_000, 1_000_000)
    assert agent.state == folder / "state.db"
    assert (crm.capture, crm.timezone, crm.stale_window, crm.write) == ("trigger", "UTC", 0, True)
    assert (crm.poll, crm.overlap, crm.lock_timeout, crm.statement_timeout) == (
        1_000_000,
        5_000_000,
        5_000_000,
        60_000_000,
    )
    assert (crm.dialect, crm.target, crm.secret()) == ("sqlite", {"path": folder / "crm.db"}, None)
    assert (customer.delete, customer.create) == ({"crm": "review", "erp": "review"}, {"crm": True, "erp": True})
    assert (customer.delete_conflict, customer.first_contact, customer.tolerance) == ("review", "plan", 1_000_000)
    name, table = customer.fields["name"], customer.systems["crm"]
    assert (name.owner, name.override, name.conflict, name.type, name.scale) == (None, "restore", "latest", None, None)
    assert (table.key, table.new_key, table.capture, table.write, table.blank) == (None, None, "trigger", True, None)


def test_the_order_is_that_of_the_files(folder: Path) -> None:
    for name in ("b", "a"):
        (folder / "entities" / f"{name}.toml").write_text(
            ENTITY.format(name=f"{name}2") + ENTITY.format(name=f"{name}1")
        )
    text = (
        ENTITY.format(name="z")
        .replace("[z.crm]", "[z.hold]")
        .replace("[z.erp]", "[z.crm]")
        .replace("[z.hold]", "[z.erp]")
    )
    (folder / "entities" / "z.toml").write_text(text + 'id = { erp = "i", crm = "i" }\nage = { crm = "a" }\n')
    config = load(folder, {}, folder)
    assert list(config.entities) == ["a2", "a1", "b2", "b1", "customer", "z"]
    assert list(config.systems) == ["crm", "erp"]
    assert list(config.entities["z"].systems) == ["crm", "erp"], "the order of accord.toml breaks ties"
    assert list(config.entities["z"].fields) == ["name", "id", "age"]
    assert config.entities["z"].fields["id"].places == {"erp": "i", "crm": "i"}


def test_what_an_entity_says_holds_for_the_fields_that_its_system_holds() -> None:
    fields = load(EXAMPLES, {}).entities["customer"].fields
    assert {name: f.owner for name, f in fields.items()} == {
        "name": "crm",
        "vat_id": "erp",
        "email": "crm",
        "mobiles": "crm",
        "phone": "erp",
        "country": "crm",
        "parent": "crm",
        "visits": None,  # a counter has no owner
        "credit": "crm",
        "currency": "crm",
        "rating": "crm",
        "notes": "crm",
    }
    assert (fields["credit"].type, fields["credit"].scale) == ("decimal", 2)
    assert fields["notes"].places == {"crm": "description", "erp": "comment"}
    assert fields["notes"].lossy == {"crm", "erp"}
    assert fields["email"].conflict == "prefer:crm"


def test_an_entity_s_owner_and_preference_do_not_hold_where_that_system_has_no_column(folder: Path) -> None:
    path = folder / "entities" / "customer.toml"
    text = path.read_text().replace("match", 'owner = "crm"\nconflict = "prefer:crm"\noverride = "tolerate"\nmatch')
    path.write_text(text + 'code = { erp = "code" }\n')
    fields = load(folder, {}, folder).entities["customer"].fields
    assert (fields["name"].owner, fields["name"].conflict, fields["name"].override) == ("crm", "prefer:crm", "tolerate")
    assert (fields["code"].owner, fields["code"].conflict, fields["code"].override) == (None, "latest", "tolerate")


def test_systems_and_agent_give_what_tables_and_entities_leave_out(folder: Path) -> None:
    (folder / "accord.toml").write_text(
        ACCORD.replace('"pilot"', '"pilot"\npoll = "2s"\ntolerance = "3s"').replace(
            'url = "sqlite:erp.db"',
            'url = "sqlite:erp.db"\ncapture = "watermark"\nwrite = false\npoll = "7s"\n'
            '[systems.erp.defaults]\nmodified = "changed"\nblank = ""\ninsert = { rate = 1.10 }',
        )
    )
    config = load(folder, {}, folder)
    crm, erp, customer = config.systems["crm"], config.systems["erp"], config.entities["customer"]
    assert (crm.poll, erp.poll, customer.tolerance) == (2_000_000, 7_000_000, 3_000_000)
    assert (customer.systems["erp"].capture, customer.systems["erp"].write) == ("watermark", False)
    assert (customer.systems["crm"].capture, customer.systems["crm"].write) == ("trigger", True)
    assert (erp.defaults.modified, erp.defaults.blank, erp.defaults.insert) == (
        "changed",
        "",
        {"rate": Decimal("1.10")},
    )
    assert customer.systems["erp"].modified is None, "only check knows which tables have the column"


def test_one_policy_for_all_and_a_policy_for_each(folder: Path) -> None:
    path = folder / "entities" / "customer.toml"
    text = path.read_text()
    path.write_text(text.replace("match", 'delete = "propagate"\ncreate = false\nmatch'))
    customer = load(folder, {}, folder).entities["customer"]
    assert (customer.delete, customer.create) == (
        dict.fromkeys(("crm", "erp"), "propagate"),
        dict.fromkeys(("crm", "erp"), False),
    )
    path.write_text(text.replace("match", "delete.erp = 'ignore'\ncreate = { crm = false }\nmatch"))
    customer = load(folder, {}, folder).entities["customer"]
    assert (customer.delete, customer.create) == ({"crm": "review", "erp": "ignore"}, {"crm": False, "erp": True})
    path.write_text(text.replace("match", "create = { crm = false, erp = 'filled(name)' }\nmatch"))
    assert load(folder, {}, folder).entities["customer"].create == {"crm": False, "erp": "filled(name)"}


def test_nothing_changes_after_loading(folder: Path) -> None:
    config = load(folder, {}, folder)
    with pytest.raises(ValueError, match="frozen"):
        config.systems["crm"].capture = "watermark"


def test_a_file_from_another_kind_of_computer(folder: Path) -> None:
    path = folder / "entities" / "customer.toml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    config = load(folder, {}, folder)
    assert config.where("entities", "customer", "erp", "table") == ("entities/customer.toml", 6)


# --- where it is found -----------------------------------------------------------------------------------------------


def test_it_is_found_in_the_order_that_is_documented(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("given", "environment", "here", "etc"):
        (folder / name).mkdir()
        (folder / name / "accord.toml").write_text(ACCORD.replace("pilot", name))
        (folder / name / "entities").symlink_to(folder / "entities")
    monkeypatch.setattr(find, "SYSTEM_WIDE", folder / "etc" / "accord.toml")
    environ, here = {"ACCORD_CONFIG": str(folder / "environment" / "accord.toml")}, folder / "here"
    assert load(folder / "given" / "accord.toml", environ, here).agent.name == "given"
    assert load(Path("../given"), environ, here).agent.name == "given"
    assert load(None, environ, here).agent.name == "environment"
    assert load(None, {}, here).agent.name == "here"
    (here / "accord.toml").unlink()
    assert load(None, {}, here).agent.name == "etc"
    (folder / "etc" / "accord.toml").unlink()
    with pytest.raises(ConfigError) as e:
        load(None, {}, here)
    assert f"looked for {here / 'accord.toml'} and {folder / 'etc' / 'accord.toml'}" in e.value.problem.message


@pytest.mark.parametrize(("path", "environ"), [(Path("x.toml"), {}), (None, {"ACCORD_CONFIG": "x.toml"})])
def test_a_path_that_is_named_is_the_only_one(folder: Path, path: Path | None, environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as e:
        load(path, environ, folder)
    message = e.value.problem.message
    assert str(folder / "x.toml") in message and "/etc" not in message
    assert ("ACCORD_CONFIG" in message) is bool(environ)


# --- where its keys stand --------------------------------------------------------------------------------------------


def test_every_key_knows_its_line(folder: Path) -> None:
    config = load(folder, {}, folder)
    for path, place in {
        ("systems", "erp", "url"): ("accord.toml", 6),
        ("systems", "erp", "password"): ("accord.toml", 5),
        ("agent",): ("accord.toml", 1),
        ("limits",): ("accord.toml", None),
        ("entities", "customer"): ("entities/customer.toml", 1),
        ("entities", "customer", "crm", "key"): ("entities/customer.toml", 3),
        ("entities", "customer", "fields", "name", "erp", "column"): ("entities/customer.toml", 8),
        ("entities", "stranger"): (None, None),
    }.items():
        assert config.where(*path) == place, path


def test_a_file_outside_of_the_working_directory_has_its_whole_name(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    config = load(folder, {}, folder / "elsewhere")
    assert config.where("entities", "customer") == (str(folder / "entities" / "customer.toml"), 1)
    assert load(folder, {}, folder.parent).where("agent") == (f"{folder.name}/accord.toml", 1)


def test_a_problem_reads_the_same_wherever_it_is_found(folder: Path) -> None:
    config = load(folder, {}, folder)
    path = ("entities", "customer", "fields", "name", "erp")
    problem = config.problem(path, "no-column", 'there is no column "n".', "Correct the name.", system="erp")
    assert str(problem) == (
        'entities/customer.toml:8: customer.fields.name.erp: there is no column "n". What to do: Correct the name.'
    )
    assert (problem.code, problem.entity, problem.field, problem.system) == ("no-column", "customer", "name", "erp")
    assert config.problem(("systems", "crm", "url"), "x", "y").system == "crm"
