"""What follows from an origin that is not the one that was known."""

from __future__ import annotations

import pytest

from adapters.origin import Origin, Part
from agent import origins

TRIGGER = Part("the trigger t on party", "7", ("party", "person"), "", "was made again")
LOG = Part("the change log", "1", ("party",), "", "was emptied")
KNOWN = Origin("d1", "i1", "here", "the first", (TRIGGER, LOG))


@pytest.mark.parametrize(
    ("database", "instance", "place", "another"),
    [
        ("d1", "i1", "here", False),
        ("d1", "i2", "here", False),  # the server was restarted, the file replaced: the fence tells of a restore
        ("d1", "i1", "there", False),  # the same server, called by another name
        ("d1", "i2", "there", True),  # a copy, perhaps
        ("d2", "i1", "here", False),  # Accord's objects were made anew
        ("d2", "i2", "here", True),
        ("d2", "i1", "there", True),
        ("d2", "i2", "there", True),
    ],
)
def test_which_differences_make_another_database(database: str, instance: str, place: str, another: bool) -> None:
    assert origins.is_another(KNOWN, Origin(database, instance, place, "")) is another


def test_both_are_named() -> None:
    problem = origins.another("erp", KNOWN, KNOWN._replace(told="the second"))
    assert "it was the first, it is the second." in problem.message
    assert (problem.code, problem.system) == ("another-database", "erp")


def test_gaps_by_entity() -> None:
    def now(*parts: Part) -> dict[str, str]:
        return origins.gaps(KNOWN, KNOWN._replace(parts=parts))

    assert now(TRIGGER, LOG) == {}
    assert now(TRIGGER._replace(changed="else", entities=("party", "person")), LOG) == {}
    again = "the trigger t on party was made again"
    assert now(TRIGGER._replace(id="8"), LOG) == {"party": again, "person": again}
    assert now(TRIGGER, LOG._replace(id="2")) == {"party": "the change log was emptied"}
    assert now(TRIGGER, LOG._replace(id="", broken="is missing")) == {"party": "the change log is missing"}
    assert now(TRIGGER._replace(id="8"), LOG._replace(id="2")) == {"party": f"{again} (and 1 more)", "person": again}
    assert now(TRIGGER, LOG, Part("the table x", "1", ("x",))) == {"x": "the table x is new"}
    assert now(LOG) == {}, "not captured any more"


def test_what_is_blind_and_since_when() -> None:
    off = TRIGGER._replace(broken="is switched off")
    found = origins.blind(KNOWN._replace(parts=(off, LOG)))
    assert found == dict.fromkeys(("party", "person"), "the trigger t on party is switched off")
    assert origins.still({"party": ["5", "x"]}, found, "9") == {
        "party": ["5", "the trigger t on party is switched off"],
        "person": ["9", "the trigger t on party is switched off"],
    }


def test_it_comes_back_as_it_was_kept() -> None:
    assert origins.load(origins.dump(KNOWN)) == KNOWN
    assert origins.load(None) is None
