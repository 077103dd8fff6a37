"""Random stories (hypothesis). Each mode is a handful of traps together; every story that ever failed stays below."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .harness import quick_folder, short_way
from .people import Mode, Step, Story

BASE = ("edit", "edit", "round", "crash", "during", "both")
ROUGH = (*BASE, "hold", "release", "repeat", "disorder", "cut")
LIFE = (*BASE, "create", "delete", "repeat", "cut")

MODES = {
    "edits": Mode(acts=ROUGH),
    "three": Mode("abc", (*ROUGH, "down", "up")),
    "sum": Mode(acts=(*BASE, "cut", "down", "up"), rules={"q": "sum"}),
    "lossy": Mode(acts=(*BASE, "create", "down", "up"), lossy=True),
    "spelled": Mode("abc", (*LIFE, "respell", "respell", "down", "up"), spelled=True),
    "rewrite": Mode("abc", (*BASE, "down", "up"), rewrite=True),
    "life": Mode("ab", LIFE),
    "life of three": Mode("abc", (*LIFE, "down", "up")),
    "delete wins": Mode("abc", (*LIFE, "down", "up"), delete_conflict="delete_wins"),
    "no match": Mode("ab", (*LIFE, "rekey"), match=False),
    "twins": Mode("abc", (*BASE, "twins", "create", "rekey", "down", "up")),
    "review": Mode("abc", (*LIFE, "down", "up"), rules={"n": "review"}, delete_conflict="review"),
    "answers": Mode(
        "abc",
        ("edit", "edit", "round", "answer", "answer", "crash", "during", "delete", "cut", "down", "up"),
        rules={"n": "review", "p": "review"},
        delete_conflict="review",
        records=1,
    ),
    "owner": Mode("abc", (*BASE, "down", "up"), owner={"n": "b"}, rules={"p": "prefer:c"}),
    "forms": Mode("abc", (*BASE, "open", "save", "down", "up"), forms=True),
    "watermark": Mode("abc", (*LIFE, "down", "up"), watermark="b"),
    "gaps": Mode("abc", (*LIFE, "gap", "gap", "down", "up")),
    "gaps of edits": Mode(acts=(*ROUGH, "gap", "gap"), rules={"q": "sum"}),
    "created by condition": Mode("ab", (*LIFE, "edit", "create", "down", "up"), create=True),
    "created by condition of three": Mode("abc", (*LIFE, "create", "twins", "rekey", "down", "up"), create=True),
    "lost state": Mode("ab", (*BASE, "create", "lose", "cut")),
}

number = st.integers(0, 11)
stories = st.lists(st.tuples(number, number, number, number), max_size=24)


FOUND: list[tuple[str, list[tuple[str, int, int, int]]]] = [
    # a delete by people who had not seen an edit that was agreed before
    ("delete wins", [("down", 5, 6, 5), ("edit", 0, 1, 7), ("edit", 2, 5, 0), ("edit", 1, 7, 2),
                ("during", 7, 5, 2), ("delete", 11, 9, 3)]),
    ("no match", [("edit", 5, 8, 9), ("edit", 8, 3, 9), ("during", 1, 10, 9)]),
    ("review", [("down", 6, 2, 7), ("edit", 2, 5, 8), ("edit", 8, 0, 8), ("during", 7, 3, 2), ("delete", 9, 10, 6)]),
    ("watermark", [("down", 9, 10, 5), ("edit", 7, 0, 7), ("edit", 7, 6, 7), ("delete", 3, 2, 6), ("during", 5, 6, 3)]),
    ("life of three", [("down", 4, 11, 3), ("edit", 10, 10, 2), ("create", 8, 10, 1), ("both", 8, 4, 9),
                ("delete", 1, 6, 11), ("crash", 7, 6, 8), ("delete", 7, 4, 3)]),
    # update wins after Accord had deleted the row elsewhere already
    ("life of three", [("down", 6, 0, 3), ("delete", 11, 9, 9), ("edit", 3, 7, 6), ("round", 10, 1, 0)]),
    ("watermark", [("create", 4, 8, 9), ("down", 7, 6, 7), ("delete", 8, 7, 7), ("edit", 10, 10, 6), ("cut", 3, 1, 0)]),
    # a primary key that changes between capture and read, and one that changes twice
    ("no match", [("create", 1, 6, 4), ("during", 7, 1, 8), ("during", 0, 0, 11)]),
    ("no match", [("delete", 2, 0, 6), ("round", 8, 10, 2), ("rekey", 1, 8, 8), ("during", 8, 1, 7)]),
    ("no match", [("rekey", 1, 8, 2), ("rekey", 7, 1, 4), ("edit", 6, 4, 3)]),
    ("twins", [("twins", 5, 3, 10), ("twins", 2, 11, 2), ("rekey", 3, 0, 0), ("rekey", 3, 4, 10), ("rekey", 3, 7, 9)]),
    ("twins", [("during", 10, 10, 7), ("create", 9, 8, 4), ("rekey", 9, 10, 1)]),
    ("twins", [("both", 4, 7, 9), ("twins", 4, 5, 6), ("round", 9, 11, 7), ("rekey", 8, 2, 8), ("during", 8, 5, 8)]),
    ("twins", [("down", 9, 9, 3), ("both", 6, 6, 9), ("twins", 10, 5, 0), ("rekey", 2, 9, 2), ("during", 8, 3, 2),
                ("during", 4, 9, 8)]),
    ("no match", [("edit", 11, 11, 9), ("during", 1, 7, 9)]),
    # a new state under the fence of a lost one, and a COMMIT that is cut off
    ("lost state", [("edit", 4, 10, 11), ("edit", 6, 3, 9), ("edit", 1, 3, 7), ("during", 5, 0, 5),
                ("edit", 2, 9, 2), ("lose", 10, 4, 10), ("cut", 5, 5, 8), ("round", 6, 8, 9)]),
    ("lost state", [("create", 2, 3, 11), ("during", 2, 7, 8), ("lose", 9, 8, 10), ("cut", 11, 7, 2),
                ("during", 4, 6, 5), ("crash", 4, 3, 2)]),
    # a delete while the outcome of an insert elsewhere was unknown
    ("delete wins", [("during", 1, 2, 2), ("down", 5, 2, 8), ("delete", 6, 6, 1), ("cut", 2, 6, 9), ("delete", 7, 7, 1),
                     ("up", 5, 2, 4), ("create", 1, 10, 2), ("during", 10, 11, 11), ("delete", 3, 3, 8),
                     ("down", 2, 9, 11), ("cut", 0, 3, 3), ("during", 0, 11, 11)]),
    # a value that was entered again, lost, and was saved a third time
    ("forms", [("both", 4, 1, 5), ("open", 8, 1, 5), ("round", 0, 0, 0), ("save", 0, 5, 1), ("round", 2, 4, 1),
               ("save", 0, 10, 8), ("edit", 6, 11, 3), ("during", 6, 5, 1), ("save", 0, 4, 0)]),
    # a row on which a form was left open for long
    ("forms", [("open", 7, 7, 4), ("save", 2, 0, 4), ("edit", 2, 10, 7), ("edit", 5, 3, 2), ("save", 4, 10, 0),
                ("round", 0, 11, 3), ("edit", 9, 3, 7), ("during", 3, 3, 4), ("save", 4, 3, 1)]),
]  # fmt: skip


def play(mode: Mode, tell: Callable[[Story], None], short: bool = True) -> None:
    with quick_folder() as folder, short_way(short):
        story = Story(mode, folder)
        try:
            tell(story)
            story.finish()
        finally:
            story.world.stop()


@pytest.mark.parametrize("short", [True, False], ids=["short", "long"])
@pytest.mark.parametrize("mode", MODES)
@given(steps=stories)
@settings(max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_story_ends_in_agreement(mode: str, short: bool, steps: list[Step]) -> None:
    """Whatever happens: quiet in the end, agreed, nothing doubled, nothing lost without a word (I1 to I8)."""
    play(MODES[mode], lambda story: story.tell(steps), short)


@pytest.mark.parametrize("short", [True, False], ids=["short", "long"])
@pytest.mark.parametrize(("mode", "steps"), FOUND, ids=[f"{i}-{mode}" for i, (mode, _) in enumerate(FOUND)])
def test_a_story_that_once_failed(mode: str, short: bool, steps: list[tuple[str, int, int, int]]) -> None:
    """Found by chance once, told again each time."""
    play(MODES[mode], lambda story: story.retell(steps), short)
