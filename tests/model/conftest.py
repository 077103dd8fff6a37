"""The `world` fixture: a world with one entity `thing`, described in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from config.records import Entity, Field

from .build import things
from .harness import World, quick_folder

MakeWorld = Callable[..., World]


@pytest.fixture
def world() -> Iterator[MakeWorld]:
    """`world(fields, systems, …)`: options of the entity, `world_options` for the world, `engine` for the engine."""
    made: list[World] = []

    def make(
        names: str | Sequence[Field | str] = "np",
        systems: str = "ab",
        *,
        engine: dict[str, Any] | None = None,
        world_options: dict[str, Any] | None = None,
        more: Sequence[Entity] = (),
        **options: Any,
    ) -> World:
        entity = things(names, systems, **options)
        made.append(World(folder, entity, *more, systems=systems, options=engine, **(world_options or {})))
        return made[-1]

    with quick_folder() as folder:
        yield make
        for one in made:
            one.stop()
