"""`docs/commands.md` names every command, every option and every exit code."""

from __future__ import annotations

import re

import click

from agent.cli import accord, names
from config import errors
from tests.integration.documented import DOCS, section


def test_every_command_is_in_the_documentation_with_its_options() -> None:
    with click.Context(accord) as context:
        for name in names():
            command = accord.get_command(context, name)
            assert command is not None
            assert command.help, name
            text = section(name)
            for option in (o for p in command.params for o in p.opts if o.startswith("--")):
                assert option in text or option in ("--config", "--json", "--only"), f"accord {name} {option}"


def test_exit_codes_are_those_of_the_documentation() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", DOCS, re.M)}
    words = ("DONE", "DEFECT", "LOOK", "USAGE", "UNREACHABLE", "TAKEN", "INTERRUPTED")
    assert codes == {getattr(errors, word) for word in words}
