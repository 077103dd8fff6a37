"""Everything that can be wrong with a configuration without a database, and what is said then."""
# ruff: noqa: E501  # a mistake and its message stay on one line

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.errors import ConfigError
from config.load import load

ACCORD = """[agent]
name = "pilot"
[systems.crm]
url = "sqlite:crm.db"
[systems.erp]
url = "sqlite:erp.db"
[systems.shop]
url = "sqlite:shop.db"
"""
CUSTOMER = """[customer]
match = [["name"]]
[customer.crm]
table = "accounts"
[customer.erp]
table = "party"
[customer.fields]
name = { crm = "name", erp = "name" }
mail = { crm = "mail", erp = "mail" }
"""


def problems(folder: Path, accord: str | bytes = ACCORD, **entities: str | bytes) -> list[str]:
    """What is said of this configuration, one text per problem; empty when it is valid."""
    (folder / "entities").mkdir(exist_ok=True)
    for path, text in [(folder / "accord.toml", accord)] + [
        (folder / "entities" / f"{name}.toml", text) for name, text in (entities or {"customer": CUSTOMER}).items()
    ]:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        load(folder, {}, folder)
    except ConfigError as e:
        assert all(problem.file for problem in e.problems)
        return [str(problem) for problem in e.problems]
    return []


def the_one(said: list[str]) -> str:
    assert len(said) == 1, said
    return said[0]


def test_what_the_other_tests_spoil_is_valid(tmp_path: Path) -> None:
    assert problems(tmp_path) == []


# --- one mistake, one problem ----------------------------------------------------------------------------------------

IN_ACCORD = [
    ("name =", "nmae =", '2: agent.nmae: unknown key. Did you mean "name"?'),
    ('name = "pilot"', "", "1: agent.name: this key is missing and has no default."),
    ('"pilot"', '"a b"', '2: agent.name: expected a name of at most 63 letters, digits, \'.\', \'_\' or \'-\', got "a b".'),
    ('"pilot"', '"x"\nprefix = "X"', "3: agent.prefix: expected at most 16 small letters"),
    ('"pilot"', '"x"\nstate = "postgresql://x/y"', '3: agent.state: expected the path of a file, got "postgresql://x/y".'),
    ('"pilot"', '"x"\nbatch = true', "3: agent.batch: expected a whole number from 1 to 100000, got true."),
    ('"pilot"', '"x"\npoll = 5', '3: agent.poll: expected a duration like'),
    ("[agent]", "[agnet]", 'accord.toml:1: agnet: unknown section. Did you mean "agent"?'),
    ('[agent]\nname = "pilot"', "", "accord.toml: agent: the section [agent] is missing."),
    ("[systems.crm]", "[log]\nmax_backlog = 500\n[systems.crm]", '4: log.max_backlog: expected a size like "500MB"'),
    ("[systems.crm]", "[limits]\n[systems.crm]", "3: limits: unknown section. Known here: agent, sweep, log, systems."),
    ("[systems.shop]", "[order.fields]\n[systems.shop]", "Entities stand in files of their own: entities/NAME.toml."),
    ("[systems.shop]", "[systems.owner]", '7: systems.owner: a system cannot be called "owner"'),
    ("[systems.shop]", "[systems.where]", '7: systems.where: a system cannot be called "where"'),
    ("[systems.shop]", '[systems."a:b"]', "7: systems.a:b: a system is called by letters, digits and '_'"),
    ("url = \"sqlite:shop.db\"", "", "7: systems.shop.url: this key is missing and has no default."),
    ('"sqlite:shop.db"', '"postgres://h/d"', '8: systems.shop.url: expected a url like'),
    ('"sqlite:shop.db"', '"sqlite:x"\ntriggers = "statement"', "9: systems.shop.triggers: shop (sqlite) has no triggers that fire once for"),
    ('"sqlite:shop.db"', '"sqlite:x"\ncapture = "logs"', '9: systems.shop.capture: expected one of "trigger", "watermark", "log"'),
    ('"sqlite:shop.db"', '"sqlite:x"\ntimezone = "Europe/Berln"', 'time zone called "Europe/Berln". Did you mean "Europe/Berlin"?'),
    ('"sqlite:shop.db"', '"sqlite:x"\ntimezone = "../x"', 'there is no time zone called "../x".'),
    ('"sqlite:shop.db"', '"sqlite:x"\nwrite = "false"', '9: systems.shop.write: expected true or false, got "false".'),
    ('"sqlite:shop.db"', '"sqlite:x"\npassword = "env:X"', "9: systems.shop.password: a SQLite file has no password."),
    ('"sqlite:shop.db"', '"sqlite:x"\npassword = 5', "a password itself is not written here."),
    ('"sqlite:shop.db"', '"sqlite:x"\ndefaults = 5', "9: systems.shop.defaults: expected a section with keys, got 5."),
    ('"sqlite:shop.db"', '"sqlite:x"\ndefaults.kee = "id"', '9: systems.shop.defaults.kee: unknown key. Did you mean "key"?'),
    ('"sqlite:shop.db"', '"sqlite:x"\ndefaults.stamp.a = [1]', "9: systems.shop.defaults.stamp.a: expected text, a number"),
    ("[systems.shop]\nurl = \"sqlite:shop.db\"", "[systems]\nshop = 5", "8: systems.shop: expected a section with keys, got 5."),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), IN_ACCORD)
def test_a_mistake_in_the_agent_s_file(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in ACCORD
    assert said in the_one(problems(tmp_path, ACCORD.replace(old, new)))


IN_ENTITY = [
    ("table = \"accounts\"", 'tabel = "accounts"', '4: customer.crm.tabel: unknown key. Did you mean "table"?'),
    ("table = \"accounts\"", "", "3: customer.crm.table: this key is missing and has no default."),
    ('"accounts"', "5", "4: customer.crm.table: expected text in quotes, got 5."),
    ('"accounts"', '" "', "4: customer.crm.table: expected text in quotes, got an empty text."),
    ('"accounts"', '"a"\nkey = ["id", "id"]', '5: customer.crm.key: "id" is listed twice.'),
    ('"accounts"', '"a"\nkey = []', "5: customer.crm.key: expected a column or a list of columns, got the list []."),
    ('"accounts"', '"a"\nnew_key = "UUID"', '5: customer.crm.new_key: expected "uuid", "copy" or "sql:…", got "UUID".'),
    ('"accounts"', '"a"\nmodified = "sql:"', '5: customer.crm.modified: expected SQL after "sql:", got nothing.'),
    ('"accounts"', '"a"\nblank = "NULL"', '5: customer.crm.blank: expected one of "", "null", got "NULL".'),
    ('"accounts"', '"a"\narchive = 1', "5: customer.crm.archive: expected columns and their values"),
    ('"accounts"', '"a"\narchive = { gone = "sql:now()" }', "5: customer.crm.archive.gone: a row that was archived by an expression"),
    ('"accounts"', '"a"\ncapture = "watermark"', "3: customer.crm.modified: watermark capture needs to know when"),
    ('"accounts"', '"a"\ntriggers = "statement"', "5: customer.crm.triggers: crm (sqlite) has no triggers that fire once for"),
    ('"accounts"', '"a"\ncapture = "log"', "5: customer.crm.capture: the log of crm (sqlite) cannot be read. What to do: Use capture ="),
    ('match = [["name"]]', "mtach = [['name']]", '2: customer.mtach: unknown key. Did you mean "match"?'),
    ('match = [["name"]]', 'match = ["name"]', 'each a list of fields. Write [["name"]].'),
    ('match = [["name"]]', 'match = "name"', 'each a list of fields. Write [["name"]].'),
    ('match = [["name"]]', 'match = [["nam"]]', '2: customer.match: no field is called "nam". Did you mean "name"?'),
    ('match = [["name"]]', "match = []", "2: customer.match: without a rule, records that exist in several of crm, erp"),
    ('match = [["name"]]', "", "1: customer.match: without a rule, records that exist in several of crm, erp"),
    ("[customer.erp]", "[customer.epr]", '5: customer.epr: no system is called "epr". Did you mean "erp"?'),
    ("[customer.erp]", "[customer.zzz]\ntable = 'z'\n[customer.erp]", "Add [systems.zzz] to accord.toml."),
    ("[customer]", "[customer]\nshop = 'party'", '2: customer.shop: expected a section with keys, got "party".'),
    ("[customer]", "[customer]\ndelete = { crm = 'archive' }", '2: customer.delete.crm: "archive" is the policy in crm'),
    ("[customer]", "[customer]\ndelete = { shop = 'review' }", "2: customer.delete.shop: shop has no table for customer."),
    ("[customer]", "[customer]\ndelete = { erq = 'review' }", '2: customer.delete.erq: no system is called "erq". Did you mean "erp"?'),
    ("[customer]", "[customer]\ndelete = { erp = 'shred' }", "2: customer.delete.erp: expected one of"),
    ("[customer]", "[customer]\ncreate = { erp = 5 }", "2: customer.create.erp: expected true, false or a condition"),
    ("[customer]", "[customer]\ncreate = { erp = 'true' }", '2: customer.create.erp: expected true or false, got "true". Write it without'),
    ("[customer]", "[customer]\ncreate = { erp = 'filled(nmae)' }", '2: customer.create.erp: column 8: no field is called "nmae". Did you mean "name"?'),
    ("[customer]", "[customer]\ncreate = 'fill(name)'", '2: customer.create: column 1: no function is called "fill".'),
    ("[customer]", "[customer]\ncreate = { erp = 'name.upper()' }", "2: customer.create.erp: column 1: only the functions of the language"),
    ('"mail" }', '"mail", type = "int" }\n[customer.create]\nerp = "mail == \'x\'"', "11: customer.create.erp: column 9: a number cannot be compared with text."),
    ('"mail" }', '"mail", type = "decimal(2)" }\n[customer.create]\nerp = "mail"', "11: customer.create.erp: column 1: mail is a number, which is neither"),
    ('"mail" }', '"mail", ref = "customer" }\n[customer.create]\nerp = "upper(mail) == \'x\'"', "11: customer.create.erp: column 7: mail is a reference"),
    ('"mail" }', 'nothing }'.replace("nothing", '["mail"]') + '\n[customer.create]\nerp = "filled(mail)"', "9: customer.fields.mail.erp: expected the name of a column"),
    ("[customer]", "[customer]\ncreate = { shop = false }", "2: customer.create.shop: shop has no table for customer."),
    ("[customer]", "[customer]\ndelete_conflict = 'delete'", '2: customer.delete_conflict: expected one of "update_wins", "delete_wins"'),
    ("[customer]", "[customer]\nowner = 'epr'", '2: customer.owner: no system is called "epr". Did you mean "erp"?'),
    ("[customer]", "[customer]\nowner = 'shop'", "2: customer.owner: shop has no table for customer."),
    ("[customer]", "[customer]\nconflict = 'prefer:shop'", "2: customer.conflict: shop has no table for customer."),
    ("[customer]", "[customer]\nconflict = 'newest'", '2: customer.conflict: expected one of "latest", "prefer:SYSTEM"'),
    ("[customer]", "[customer]\nfirst_contact = 'now'", '2: customer.first_contact: expected one of "plan", "auto"'),
    ("[customer]", "[customer]\ntolerance = '0s'", "2: customer.tolerance: expected a duration longer than zero"),
    ("[customer]", "[customer]\npart_of = 'order'", "2: customer.part_of: unknown key."),
    ("[customer]", "top = 1\n[customer]", "1: top: expected a section [top], got 1."),
    ("[customer]", "[agent]\nname = 'x'\n[customer]", '1: agent: an entity cannot be called "agent".'),
    ("[customer]", "['a b'.fields]\n[customer]", "1: a b: an entity is called by letters, digits and '_'"),
    ("[customer.fields]", "[customer.feilds]", '7: customer.feilds: unknown key. Did you mean "fields"?'),
    ("[customer.fields]", "[customer.fields]\ntype = { crm = 'a', erp = 'a' }", '8: customer.fields.type: a field cannot be called "type"'),
    ("[customer.fields]", "[customer.fields]\nage = 'age'", '8: customer.fields.age: expected age = { crm = "column", erp = "column" }'),
    ("[customer.fields]", "[customer.fields]\nage = {}", "8: customer.fields.age: this field has no column in any system."),
    ('mail = { crm = "mail", ', 'mail = { crn = "mail", ', '9: customer.fields.mail.crn: unknown key. Did you mean "crm"?'),
    ('"mail" }', '"mail", shop = "m" }', "9: customer.fields.mail.shop: shop has no table for customer."),
    ('"mail" }', '["mail"] }', "9: customer.fields.mail.erp: expected the name of a column, got the list"),
    ('"mail" }', '{ colum = "mail" } }', '9: customer.fields.mail.erp.colum: unknown key. Did you mean "column"?'),
    ('"mail" }', '"mail", ownr = "crm" }', '9: customer.fields.mail.ownr: unknown key. Did you mean "owner"?'),
    ('"mail" }', '"mail", owner = "epr" }', '9: customer.fields.mail.owner: no system is called "epr". Did you mean "erp"?'),
    ('mail = { crm = "mail", ', 'mail = { owner = "crm", ', "9: customer.fields.mail.owner: crm does not hold this field."),
    ('mail = { crm = "mail", ', 'mail = { conflict = "prefer:crm", ', "9: customer.fields.mail.conflict: crm does not hold this field."),
    ('mail = { crm = "mail", ', 'mail = { lossy = ["erp", "crm"], ', "9: customer.fields.mail.lossy: crm does not hold this field."),
    ('"mail" }', '"mail", ref = "custmer" }', '9: customer.fields.mail.ref: no entity is called "custmer". Did you mean "customer"?'),
    ('"mail" }', '"mail", ref = "customer", type = "int" }', "9: customer.fields.mail.type: a reference has the type"),
    ('"mail" }', '"mail", type = "money" }', '9: customer.fields.mail.type: expected one of "text", "int"'),
    ('"mail" }', '"mail", type = "text", conflict = "sum" }', '9: customer.fields.mail.conflict: "sum" adds numbers, and this is of the type text.'),
    ('"mail" }', '"mail", ref = "customer", conflict = "sum" }', '"sum" adds numbers, and this is a reference.'),
    ('"mail" }', '"mail", conflict = "sum", owner = "crm" }', "so nobody owns it."),
    ('{ crm = "mail", erp = "mail" }', '{ crm = "name", erp = "mail" }', "crm's column \"name\" is already mapped by customer.fields.name."),
    ('"accounts"', '"a"\narchive = { mail = 1 }', "crm's column \"mail\" says whether the record is archived"),
    ('"accounts"', '"a"\nrestore = { mail = 1 }', "crm's column \"mail\" says whether the record is archived"),
    ('"name" }\nmail = { crm = "mail", erp = "mail" }', '"name", group = "g" }\nmail = { crm = "m", erp = "m", group = "g", owner = "erp" }',
     '9: customer.fields.mail.owner: owner is "erp", but not set in "name" of the same group "g".'),
    ('"name" }\nmail = { crm = "mail", erp = "mail" }', '"name", group = "g" }\nmail = { crm = "m", erp = "m", group = "g", conflict = "review" }',
     'conflict is "review", but "latest" in "name"'),
    ('"name" }\nmail = { crm = "mail", erp = "mail" }', '"name", group = "g" }\nmail = { crm = "m", group = "g" }', "the systems that hold it are not those"),
    ('"name" }\nmail = { crm = "mail", erp = "mail" }', '"name", group = "g", conflict = "sum" }\nmail = { crm = "m", erp = "m", group = "g", conflict = "sum" }',
     "a counter stands alone"),
    ('name = { crm = "name", erp = "name" }', 'name = { crm = "name" }', "2: customer.match: no two systems hold all of name"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), IN_ENTITY)
def test_a_mistake_in_an_entity_is_one_problem(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in CUSTOMER
    text = CUSTOMER.replace(old, new)
    tomllib.loads(text)
    assert said in the_one(problems(tmp_path, customer=text))


def test_an_entity_in_one_system(tmp_path: Path) -> None:
    text = '[a]\n[a.crm]\ntable = "a"\n[a.fields]\nname = { crm = "n" }\n'
    assert "1: a: has a table in 1 system; two or more are needed. What to do: Add [a.erp]" in the_one(
        problems(tmp_path, a=text)
    )


def test_an_entity_without_fields(tmp_path: Path) -> None:
    said = the_one(problems(tmp_path, customer=CUSTOMER.split("name =")[0].replace('[["name"]]', '[["name"], ["x"]]')))
    assert (
        "7: customer.fields: no field is mapped. What to do: Add [customer.fields] with lines like name = { crm ="
        in said
    )


def test_a_system_that_is_never_written_is_given_no_record(tmp_path: Path) -> None:
    """One side that may create is enough to do without a rule, whichever way the other is kept from it."""
    text = CUSTOMER.replace('match = [["name"]]\n', "")
    read_only = ACCORD.replace('"sqlite:erp.db"', '"sqlite:erp.db"\nwrite = false')
    assert len(problems(tmp_path, customer=text)) == 1
    assert problems(tmp_path, read_only, customer=text) == []
    assert problems(tmp_path, customer=text.replace('"party"', '"party"\nwrite = false')) == []
    assert problems(tmp_path, customer=text.replace("[customer]", "[customer]\ncreate = { crm = false }")) == []
    said = the_one(problems(tmp_path, read_only, customer=CUSTOMER.replace('"party"', '"party"\nwrite = true')))
    assert said.startswith("entities/customer.toml:7: customer.erp.write: erp is never written")


def test_a_reference_to_an_entity_that_is_not_in_that_system(tmp_path: Path) -> None:
    other = CUSTOMER.replace("customer", "order").replace(".erp]", ".shop]").replace("erp =", "shop =")
    text = CUSTOMER + 'order = { crm = "o", erp = "o", ref = "order" }\n'
    said = the_one(problems(tmp_path, customer=text, order=other))
    assert "10: customer.fields.order.erp: order has no table in erp" in said


def test_a_default_for_modified_is_enough_for_watermarks(tmp_path: Path) -> None:
    polled = ACCORD.replace('"sqlite:erp.db"', '"sqlite:erp.db"\ncapture = "watermark"')
    assert "5: customer.erp.modified: watermark capture" in the_one(problems(tmp_path, polled))
    assert (
        problems(tmp_path, polled.replace("[systems.shop]", '[systems.erp.defaults]\nmodified = "m"\n[systems.shop]'))
        == []
    )
    assert problems(tmp_path, polled, customer=CUSTOMER.replace('"party"', '"party"\ncapture = "trigger"')) == []


# --- files -----------------------------------------------------------------------------------------------------------


def test_an_entity_that_is_defined_twice_names_both_places(tmp_path: Path) -> None:
    said = the_one(problems(tmp_path, a=CUSTOMER, b="# moved\n[customer]\nnonsense = 1\n"))
    assert said.startswith("entities/b.toml:2: customer: this entity is defined already, in entities/a.toml:1.")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a]\nb = \n", "entities/customer.toml:2: this is no valid TOML: Invalid value (column 5)."),
        ("[a]\nb = 1\nb = 2\n", "entities/customer.toml:3: this is no valid TOML: Cannot overwrite a value"),
        ("[a]\nb = [1,\n", "entities/customer.toml:3: this is no valid TOML:"),
        ("a = '''\n\n", "entities/customer.toml:3: this is no valid TOML:"),
        ("a = " + "[" * 5000, "entities/customer.toml:1: this is no TOML that can be read: it is nested too deeply."),
        (b"[a]\n# caf\xe9\n", "entities/customer.toml:2: this file is not UTF-8 text. What to do: Save it as UTF-8."),
        (b"SQLite format 3\x00\x10\x00", "entities/customer.toml:1: this is no valid TOML"),
        ("a = " + "9" * 5000, "entities/customer.toml:"),
    ],
)
def test_a_file_that_is_no_toml(tmp_path: Path, text: str | bytes, said: str) -> None:
    assert the_one(problems(tmp_path, customer=text)).startswith(said)


def test_no_error_follows_from_a_file_that_was_not_understood(tmp_path: Path) -> None:
    ref = CUSTOMER.replace("customer", "order") + 'customer = { crm = "c", erp = "c", ref = "customer" }\n'
    assert the_one(problems(tmp_path, customer="[", order=ref)).startswith("entities/customer.toml:1: this is no valid")
    assert the_one(problems(tmp_path, "[", customer=CUSTOMER)).startswith("accord.toml:1: this is no valid TOML")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('mail = { crm = "mail", ', 'mail = { owner = "crm", crn = "mail", '),
        ('mail = { crm = "mail", erp = "mail" }', 'mail = { crm = "mail", erp = 5, owner = "erp", lossy = "erp" }'),
        ('{ crm = "name", erp = "name" }', '"name"'),
        ("[customer.fields]", "[customer.feilds]"),
        ("[customer]", "[customer]\nowner = 'crm'\ndelete = { crm = 'archive' }\ncrm.archiv = { a = 1 }"),
        ("[customer]", "[customer]\nowner = 'crm'\ndelete = { crm = 'archive' }\ncrm.archive = 5"),
    ],
)
def test_no_error_follows_from_a_key_that_was_not_understood(tmp_path: Path, old: str, new: str) -> None:
    text = CUSTOMER.replace(old, new)
    if "crm.archiv" in new:
        text = text.replace('[customer.crm]\ntable = "accounts"\n', "").replace(
            "crm.archiv", "crm.table = 'a'\ncrm.archiv"
        )
    tomllib.loads(text)
    the_one(problems(tmp_path, customer=text))


def test_no_error_follows_from_a_system_that_is_called_like_an_option(tmp_path: Path) -> None:
    text = CUSTOMER.replace("erp", "owner")
    said = the_one(problems(tmp_path, ACCORD.replace("erp", "owner"), customer=text))
    assert said.startswith('accord.toml:5: systems.owner: a system cannot be called "owner"')


def test_an_entity_is_judged_although_the_agent_s_file_is_not_understood(tmp_path: Path) -> None:
    first, second = problems(tmp_path, "[", customer=CUSTOMER.replace("match", "mtach"))
    assert first.startswith("accord.toml:1:")
    assert second == 'entities/customer.toml:2: customer.mtach: unknown key. Did you mean "match"?'


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "entities" / "x.toml").mkdir(parents=True)
    assert the_one(problems(tmp_path)) == "entities/x.toml: this file cannot be read: is a directory."


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "entities").mkdir()
    for name in ("README", "order.toml~", ".#customer.toml", "old.toml.bak"):
        (tmp_path / "entities" / name).write_text("[")
    assert problems(tmp_path) == []


def test_no_folder_and_no_entity(tmp_path: Path) -> None:
    (tmp_path / "accord.toml").write_text(ACCORD)
    with pytest.raises(ConfigError) as e:
        load(tmp_path, {}, tmp_path)
    assert str(e.value).startswith("entities: there is no such folder; the entities stand there.")
    assert the_one(problems(tmp_path, empty="# nothing yet\n")).startswith("entities: no file here has an entity.")


def test_no_system(tmp_path: Path) -> None:
    for text in ('[agent]\nname = "a"\n', '[agent]\nname = "a"\n[systems]\n'):
        assert "systems: no system is given. What to do: Add [systems.NAME]" in the_one(problems(tmp_path, text))


# --- all at once -----------------------------------------------------------------------------------------------------


def test_everything_is_said_at_once_in_the_order_of_the_files(tmp_path: Path) -> None:
    accord = ACCORD.replace("name =", "nmae =").replace('"sqlite:shop.db"', '"sqlite:x"\npolll = "1s"')
    customer = (
        CUSTOMER.replace("[customer]", "[customer]\ndelete = 'archive'\nowner = 'epr'")
        .replace('table = "accounts"', 'tabel = "accounts"')
        .replace('"mail" }', '"mail", ref = "nobody" }')
    )
    order = CUSTOMER.replace("customer", "order").replace('[["name"]]', '[["nmae"]]')
    places = [text.split(": ", 2)[:2] for text in problems(tmp_path, accord, customer=customer, order=order)]
    assert places == [
        ["accord.toml:2", "agent.nmae"],
        ["accord.toml:9", "systems.shop.polll"],
        ["entities/customer.toml:2", "customer.delete.crm"],
        ["entities/customer.toml:2", "customer.delete.erp"],
        ["entities/customer.toml:3", "customer.owner"],
        ["entities/customer.toml:6", "customer.crm.tabel"],
        ["entities/customer.toml:11", "customer.fields.mail.ref"],
        ["entities/order.toml:2", "order.match"],
    ]


@given(st.integers(0, len(CUSTOMER)), st.integers(0, 12), st.text(max_size=3), st.sampled_from(["accord", "customer"]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_written_the_answer_is_a_problem_with_a_file(
    tmp_path: Path, at: int, cut: int, put: str, which: str
) -> None:
    text = ACCORD if which == "accord" else CUSTOMER
    spoilt = (text[:at] + put + text[at + cut :]).encode("utf-8", "surrogatepass")
    if which == "accord":
        problems(tmp_path, spoilt, customer=CUSTOMER)
    else:
        problems(tmp_path, customer=spoilt)
