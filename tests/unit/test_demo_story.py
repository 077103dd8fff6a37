"""The demo's words: conflicts told with people's names, and a folder that is not the demo's is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.demo import report, story
from agent.demo.account import Account, Edit, Facts, Fate
from agent.demo.world import build
from config.errors import USAGE
from state.ports import Journal


class KnownFacts(Facts):
    """The world as built, with one customer linked by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(folder)

    def _read(self, db: object, system: str) -> None:  # type: ignore[override]
        self.rows[system, self.places["customer"][system].table] = {"k": {"name": "Acme GmbH"}}
        self.keys["customer", "g", system] = "k"
        self.gids["customer", system, "k"] = "g"


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    folder = tmp_path_factory.mktemp("world")
    build(folder, 7)
    return KnownFacts(folder)


def edit(who: str, system: str, second: float, after: object, before: object = "0", column: str = "phone") -> Edit:
    at = f"2026-01-01T14:03:{second:06.3f}Z"
    return Edit(at, who, system, "update", "accounts" if system == "crm" else "party", "k", column, before, after)


def told(facts: Facts, field: str, line: Journal | None, *edits: Edit) -> list[str]:
    accounts = [Account(e, Fate.KEPT, "customer", "g", field) for e in edits]
    return report.Teller(facts, accounts, 0.1).conflicts([line] if line else [])


def journal(action: str, field: str, rule: str, before: object = "1", after: object = "2") -> Journal:
    return Journal("customer", "g", action, "crm", field, before, after, rule, "erp", 0)  # type: ignore[arg-type]


def test_a_clash_names_both_people_and_says_why(facts: Facts) -> None:
    maria, tom = edit("Maria", "crm", 7, "1"), edit("Tom", "erp", 8.2, "2")
    assert told(facts, "phone", journal("conflict", "phone", "latest"), maria, tom) == [
        "Maria (CRM) and Tom (ERP) both changed the phone number of Acme GmbH at 14:03:07. Tom was later by 1.2 s: "
        "“2” stands, Maria's “1” is kept in the journal."
    ]


@pytest.mark.parametrize(
    ("second", "rule", "why"),
    [
        (7.05, "latest", "That was at the same moment, and the ERP comes first in the configuration"),
        (8.2, "prefer:erp", "Here the ERP is preferred"),
    ],
)
def test_the_reason_is_the_rule(facts: Facts, second: float, rule: str, why: str) -> None:
    edits = edit("Maria", "crm", 7, "1"), edit("Tom", "erp", second, "2")
    (sentence,) = told(facts, "phone", journal("conflict", "phone", rule), *edits)
    assert f". {why}: “2” stands" in sentence


def test_an_override_says_to_whom_the_field_belongs(facts: Facts) -> None:
    line = journal("override", "credit", "owner erp", 99, 5000)
    (sentence,) = told(facts, "credit", line, edit("Priya", "crm", 7, 99))
    assert sentence == (
        "Priya (CRM) changed the credit limit of Acme GmbH to “99”, but credit limits belong to the ERP: "
        "it is “5000” again."
    )


def test_a_decision_about_what_nobody_did_today_is_not_told(facts: Facts) -> None:
    assert told(facts, "phone", journal("conflict", "phone", "latest", before="x"), edit("Maria", "crm", 7, "1")) == []


def test_first_contact_is_told_in_numbers() -> None:
    links = [journal("link", "", f"match {name}") for name in ("vat_id", "vat_id", "email")]
    lines = [*links, journal("create", "", ""), journal("update", "credit", "owner erp")]
    assert list(report.first_contact(lines)) == [
        "3 customers that both systems knew were recognised: 2 by VAT number, 1 by e-mail.",
        "Customers that only one of them knew were added: 1 to the CRM.",
        "Values that differed and were brought into line: 1.",
        "  1 credit limit           the ERP has the say",
    ]


def test_a_missing_edit_is_named() -> None:
    accounts = [Account(edit("Maria", "crm", 7, "1"), Fate.MISSING, "customer", "g", "phone")]
    *_, line = report.fates(accounts)
    assert "Maria, crm accounts k phone: 0 -> 1" in line


def test_a_long_list_says_how_many_more_there_are() -> None:
    assert report.shortened(map(str, range(20)), 3) == ["0", "1", "2", "… and 17 more."]
    assert report.shortened(["a", "b"], 1) == ["a", "b"]


def test_a_folder_that_the_demo_did_not_make_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("ten years of work")
    assert story.run(tmp_path) == USAGE
    assert (tmp_path / "thesis.txt").read_text() == "ten years of work"
    assert "was not made by the demo" in capsys.readouterr().err


def test_a_folder_that_the_demo_made_is_made_afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / story.MARKER).write_text("")
    (folder / "crm.db").write_text("of the last demo")
    monkeypatch.setattr(story.Story, "tell", lambda self: 0)
    assert story.run(folder) == 0
    assert [path.name for path in folder.iterdir()] == [story.MARKER]


def test_a_file_or_a_link_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "demo").symlink_to(tmp_path)
    (tmp_path / "file").write_text("")
    assert [story.run(tmp_path / name) for name in ("demo", "file")] == [USAGE, USAGE]
    assert capsys.readouterr().err.count("is not a folder") == 2


def test_a_day_of_no_length_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert story.run(tmp_path / "demo", seconds=0) == USAGE
    assert "1 to 600 seconds" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
