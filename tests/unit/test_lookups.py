"""Lookups, where a system stops answering in the middle."""

from __future__ import annotations

import json
from collections import defaultdict
from types import SimpleNamespace
from typing import Any, cast

from agent.lookups import Library, Lookup


def test_who_could_not_be_found_is_looked_for_again() -> None:
    """The words were read, but not who points to the row that changed: else nobody would ever look at them."""
    table = SimpleNamespace(entity="lookups.country", capture="trigger")
    lookup = Lookup(cast(Any, table), {}, None)
    words = {"1": "IT"}
    cast(Any, lookup).load = lambda system: words
    place = SimpleNamespace(lookups=(lookup,))
    library = Library(cast(Any, {"customer": SimpleNamespace(name="customer", tables={"erp": place})}), ["erp"])
    answers: list[Any] = [None, [("a", "b")]]  # of the two times that it is asked who points there

    def ask(jobs: Any) -> Any:
        found = {s: job() for s, job in jobs.items()}
        return {s: answer for s, answer in found.items() if answer is not None}

    def find(*asked: Any) -> Any:
        return answers.pop(0)

    meta = {"lookups.country:erp": json.dumps({"1": "DE"})}
    for looks, known in (([], False), (["a", "b"], True)):
        engine = SimpleNamespace(
            systems={"erp": SimpleNamespace(find=find)}, watch=SimpleNamespace(blind=defaultdict(dict))
        )
        decided = SimpleNamespace(meta={}, looks=[])
        round = SimpleNamespace(
            up=["erp"], now=1, engine=engine, ask=ask, decided=decided, state=meta, report=SimpleNamespace(worked=False)
        )
        library.refresh(cast(Any, round))
        assert [look.key for look in decided.looks] == looks
        assert ("lookups.country:erp" in decided.meta) is known
    assert library.stale == set()
