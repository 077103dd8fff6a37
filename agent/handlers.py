"""What commands may ask of the agent that runs. Carried out between two rounds, in the round's thread."""

from __future__ import annotations

from typing import Any

from agent import contact
from agent.engine import Engine
from agent.requests import register


def accept(engine: Engine, message: dict[str, Any]) -> dict[str, Any]:
    """`plan --accept`: the first contact of these entities may go on."""
    names = [name for name in message["entities"] if engine.phases.get(name) == contact.HELD]
    for name in names:
        contact.accept(engine.state, name)
    return {"accepted": names}


register("accept", accept)
