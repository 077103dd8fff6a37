"""`accord`: the command line. Finds the command, runs it, and turns what went wrong into words and an exit code.

Each module in `agent/commands/` is a command under its own name. It has `command`, a `click.Command`, and is loaded
only when it is needed:

    @click.command()
    @console.common                    # adds --config, --json and -h; gives the function an Output
    def command(out: Output, …) -> int:
        \"\"\"One sentence for the help.\"\"\"
        config = session.open_config(out)
        with session.open_bound(config) as bound, session.open_state(config, readonly=True) as state:
            out.say("for people, on stdout")
            out.data["name"] = "the same for programs, printed when --json is given"
        return LOOK                    # the exit code (config.errors)

Errors of `config.errors` are raised and reach `main`, which prints their problems and ends with their exit code.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import click

from agent import __version__, commands
from agent.console import CONTEXT, Output
from config.errors import DEFECT, DONE, INTERRUPTED, USAGE, AccordError, Problem

ORDER = (
    "demo",
    "schema",
    "check",
    "prepare",
    "unprepare",
    "plan",
    "run",
    "status",
    "review",
    "explain",
    "verify",
    "restored",
)
"""As a newcomer needs them; the help lists them so."""


def names() -> list[str]:
    """All commands that there are."""
    found = {module.name for module in iter_modules(commands.__path__)}
    return [name for name in ORDER if name in found] + sorted(found.difference(ORDER))


class Accord(click.Group):
    """Commands are loaded when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in names():
            return None
        command: click.Command = import_module(f"agent.commands.{cmd_name}").command
        command.name = cmd_name
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name.startswith("-") or name in names():
            return super().resolve_command(ctx, args)
        near = get_close_matches(name, names(), 1)
        meant = f'Did you mean "{near[0]}"?' if near else "`accord -h` lists them."
        raise click.UsageError(f'there is no command "{name}". {meant}', ctx)


@click.group(cls=Accord, context_settings=CONTEXT, invoke_without_command=True)
@click.version_option(__version__, "--version", message="accord %(version)s")
@click.option("--config", type=click.Path(path_type=Path), hidden=True)
@click.pass_context
def accord(ctx: click.Context, config: Path | None) -> None:
    """Keeps a CRM database and an ERP database in agreement, both ways, while people go on writing to both."""
    ctx.ensure_object(Output).config = config
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process with its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    out = Output(__version__, json="--json" in words)
    code = run(words, out)
    try:
        out.finish(code)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the report has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def run(words: list[str], out: Output) -> int:
    """The exit code; what went wrong is said."""
    try:
        code = accord.main(words, "accord", standalone_mode=False, obj=out)
        return code if isinstance(code, int) else DONE
    except AccordError as error:
        out.problems += error.problems
        return error.exit
    except click.ClickException as error:
        out.problems.append(usage(error))
        return USAGE
    except (KeyboardInterrupt, click.Abort):
        out.problems.append(Problem("interrupted", "interrupted."))
        return INTERRUPTED
    except BrokenPipeError:
        return DONE
    except Exception as error:
        out.problems.append(defect(words, error))
        return DEFECT


def usage(error: click.ClickException) -> Problem:
    """What is wrong with the command line, in the words of everything else that is wrong."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    path = ctx.command_path if ctx else "accord"
    message = error.format_message()
    message = message[:1].lower() + message[1:]
    if isinstance(error, click.NoSuchOption):
        known = [o for p in ctx.command.get_params(ctx) for o in p.opts] if ctx else []
        near = get_close_matches(error.option_name, known, 1)
        meant = f'Did you mean "{near[0]}"?' if near else f"`{path} -h` lists them."
        message = f'there is no option "{error.option_name}". {meant}'
    return Problem("usage", f"{path}: {message}")


def defect(words: list[str], error: Exception) -> Problem:
    """A mistake of Accord's own: one sentence, and the traceback in a file that only this account may read."""
    handle, name = tempfile.mkstemp(".txt", "accord-defect-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"accord {__version__}, Python {sys.version}\naccord {' '.join(words)}\n\n")
        file.writelines(traceback.format_exception(error))
    message = (
        f"this is a defect of Accord ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})."
    )
    return Problem("defect", message, f"send {name} to whoever looks after Accord; nothing that is half done is lost.")
