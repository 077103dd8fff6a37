"""What commands may ask of the agent that runs. Carried out between two rounds, in the round's thread.

Whoever asks for something is there and watches: what is down or halted is tried again at once.
"""

from __future__ import annotations

from typing import Any

from agent import contact, reviewing
from agent.requests import Agent, register


def accept(engine: Agent, message: dict[str, Any]) -> dict[str, Any]:
    """`plan --accept`: the first contact of these entities may go on."""
    engine.try_again()
    names = [name for name in message["entities"] if engine.phases.get(name) == contact.HELD]
    for name in names:
        contact.accept(engine.state, name)
    return {"accepted": names}


def resolve(engine: Agent, message: dict[str, Any]) -> dict[str, Any]:
    """`review resolve`: a person's choice; the next round carries it out."""
    engine.try_again()
    id, take, by = (str(message.get(word, "")) for word in ("id", "take", "by"))
    return {"id": reviewing.resolve(engine.state, id, take, by, engine.clock()).id}


def retry(engine: Agent, message: dict[str, Any]) -> dict[str, Any]:
    """`review retry`: these questions (none named: all) are looked at again in the next round."""
    engine.try_again()
    ids = message.get("ids")
    asked = None if ids is None else [str(id) for id in ids]
    items = reviewing.retry(engine.state, asked, str(message.get("by", "")), engine.clock())
    return {"items": [item.id for item in items]}


register("accept", accept)
register("resolve", resolve)
register("retry", retry)
