"""`accord schema`: JSON Schemas of the configuration, for editors."""

from __future__ import annotations

import json

import click

from agent import console
from agent.console import Output
from config.errors import DONE
from config.schema import accord_schema, entity_schema

SCHEMAS = {"agent": accord_schema, "entity": entity_schema}


@click.command()
@console.common
@click.argument("which", type=click.Choice(list(SCHEMAS)), default="agent")
def command(out: Output, which: str) -> int:
    """Print the JSON Schema of accord.toml (agent) or of the files in entities/ (entity), for editors."""
    out.data["schema"] = SCHEMAS[which]()
    out.say(json.dumps(out.data["schema"], indent=2, ensure_ascii=False))
    return DONE
