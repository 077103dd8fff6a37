"""Random stories (hypothesis). Each mode is a handful of traps together; every story that ever failed stays below."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from .people import Mode, Step, Story

BASE = ("edit", "edit", "round", "crash", "during", "both")
ROUGH = (*BASE, "hold", "release", "repeat", "disorder", "cut")
LIFE = (*BASE, "create", "delete", "repeat", "cut")

MODES = {
    "edits": Mode(acts=ROUGH),
    "three": Mode("abc", (*ROUGH, "down", "up")),
    "sum": Mode(acts=(*BASE, "cut", "down", "up"), rules={"q": "sum"}),
    "lossy": Mode(acts=(*BASE, "create", "down", "up"), lossy=True),
    "rewrite": Mode("abc", (*BASE, "down", "up"), rewrite=True),
    "life": Mode("ab", LIFE),
    "life of three": Mode("abc", (*LIFE, "down", "up")),
    "delete wins": Mode("abc", (*LIFE, "down", "up"), delete_conflict="delete_wins"),
    "no match": Mode("ab", (*LIFE, "rekey"), match=False),
    "twins": Mode("abc", (*BASE, "twins", "create", "rekey", "down", "up")),
    "review": Mode("abc", (*LIFE, "down", "up"), rules={"n": "review"}, delete_conflict="review"),
    "owner": Mode("abc", (*BASE, "down", "up"), owner={"n": "b"}, rules={"p": "prefer:c"}),
    "forms": Mode("abc", (*BASE, "open", "save", "down", "up"), forms=True),
    "watermark": Mode("abc", (*LIFE, "down", "up"), watermark="b"),
    "lost state": Mode("ab", (*BASE, "create", "lose", "cut")),
}

number = st.integers(0, 11)
stories = st.lists(st.tuples(number, number, number, number), max_size=24)


def play(mode: Mode, steps: list[Step]) -> None:
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=folder) as path:
        story = Story(mode, Path(path))
        try:
            story.tell(steps)
            story.finish()
        finally:
            story.world.stop()


@pytest.mark.parametrize("mode", MODES)
@given(steps=stories)
@settings(max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
@example(steps=[])
def test_a_story_ends_in_agreement(mode: str, steps: list[Step]) -> None:
    """Whatever happens: quiet in the end, agreed, nothing doubled, nothing lost without a word (I1 to I8)."""
    play(MODES[mode], steps)
