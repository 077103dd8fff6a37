"""The demo, told from start to end: `accord demo`.

Every step is the command that an operator would type, run as a process of its own; what people do meanwhile comes from
yet another process. At the end both databases are read with plain SQL, and every edit is accounted for.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from agent.demo import report
from agent.demo.account import Account, Facts, Fate, account, read_ledger
from agent.demo.world import SIDE, build, imagine
from agent.session import open_state
from config.errors import DEFECT, DONE, INTERRUPTED, LOOK, USAGE
from config.load import load
from config.model import Config
from state.ports import Review
from state.reports import Entry

MARKER = ".accord-demo"
SETTLE = 1.5  # seconds that the agent has after the last edit, before it is asked to stop
STOP = 20  # seconds in which it has to
MOST_OUTPUT = 16  # lines of a command that are shown
EVERYTHING = 10_000_000  # lines of the journal


class Stopped(Exception):
    """A command did not do what the story needs; `exit` is its exit code."""

    def __init__(self, exit: int) -> None:
        self.exit = exit


def run(folder: Path, seed: int = 7, seconds: float = 20.0) -> int:
    """Tell the whole story in `folder`, made afresh. Returns the exit code: 0 all is well; 1 an edit went missing."""
    problem = _unfit(folder, seconds)
    if problem:
        click.echo(problem, err=True)
        return USAGE
    try:
        return Story(folder, seed, seconds).tell()
    except Stopped as stopped:
        return stopped.exit
    except KeyboardInterrupt:
        click.echo("\nStopped. The folder stays as it is; the next demo starts afresh.", err=True)
        return INTERRUPTED


def _unfit(folder: Path, seconds: float) -> str:
    """Why the demo cannot be told there; empty = it can."""
    if not 1 <= seconds <= 600:
        return f"--seconds {seconds:g}: people work for 1 to 600 seconds."
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        return f"{folder} is not a folder. Choose another one with --dir."
    try:
        if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).exists():
            return f"{folder} was not made by the demo, so it is left alone. Choose another folder with --dir."
        if folder.is_dir():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        (folder / MARKER).write_text("Made by `accord demo`, which removes and makes this folder afresh each time.\n")
    except OSError as error:
        return (
            f"{error.filename or folder}: {(error.strerror or str(error)).lower()}. Choose another folder with --dir."
        )
    return ""


@dataclass
class Story:
    """One telling."""

    folder: Path
    seed: int
    seconds: float
    begun: float = field(default_factory=time.monotonic)  # monotonic seconds
    first_rounds: int = 0  # number of the last round before people came

    def tell(self) -> int:
        self.build()
        self.prepare()
        self.first_sync()
        self.working_day()
        return self.close()

    # --- chapters -----------------------------------------------------------------------------------------------
    def build(self) -> None:
        heading("Two systems that never met")
        build(self.folder, self.seed)
        say(
            f"A CRM ({self.folder / 'crm.db'}) and an ERP ({self.folder / 'erp.db'}), {SIDE:,} customers in each, "
            f"most of them in both. The mapping that two departments agreed on is in {self.folder / 'entities'}."
        )

    def prepare(self) -> None:
        heading("Is everything in order?")
        self.accord("check")
        self.accord("prepare")

    def first_sync(self) -> None:
        heading("What would happen, before anything does")
        self.accord("plan", fine=(DONE, LOOK))
        self.accord("plan", "--accept", fine=(DONE, LOOK), show=0)
        heading("The first sync")
        self.accord("run", "--once", fine=(DONE, LOOK))
        with open_state(self.config(), readonly=True) as state:
            self.first_rounds = state.last_round()

    def working_day(self) -> None:
        heading(f"{self.seconds:g} seconds of people at work")
        say("Two offices edit both databases with plain SQL, while the agent runs beside them.")
        with self.agent():
            people = [sys.executable, "-m", "agent.demo.people", str(self.folder)]
            self.process([*people, "--seconds", f"{self.seconds:g}", "--seed", str(self.seed)], (DONE,), 0)
            time.sleep(SETTLE)
        self.accord("run", "--once", fine=(DONE, LOOK), show=0)

    def close(self) -> int:
        entries, reviews = self.memory()
        ledger, facts = read_ledger(self.folder), Facts(self.folder)
        lines = [entry.line for entry in entries]
        accounts = account(self.folder, ledger, imagine(self.seed), lines, reviews)
        teller = report.Teller(facts, accounts, self.config().agent.tolerance / 1e6)
        heading("First contact")
        bullets(report.first_contact([e.line for e in entries if e.round <= self.first_rounds]))
        heading("While people worked")
        bullets(report.traffic(ledger, self.delays(entries)))
        heading("Conflicts, and how they were decided (times in UTC)")
        bullets(teller.conflicts(lines))
        heading("Waiting for a person")
        bullets(report.shortened(report.waiting(reviews, teller), 14))
        heading("Do the two agree now?")
        self.accord("verify", fine=(DONE, LOOK), show=40)
        heading("The demo's own check, with plain SQL: every edit accounted for")
        for line in report.fates(accounts):
            click.echo(f"  {line}")
        return self.farewell(accounts, reviews)

    def farewell(self, accounts: list[Account], reviews: list[Review]) -> int:
        missing = any(a.fate is Fate.MISSING for a in accounts)
        heading(f"Done in {time.monotonic() - self.begun:.0f} seconds. Three commands to try")
        edited = next((a for a in accounts if a.field == "phone" and a.fate is Fate.LOST), accounts[0])
        for command in (
            f"explain {edited.entity} {edited.edit.system}:{edited.edit.key}",
            "review" + (f" show {reviews[0].id}" if reviews else ""),
            "verify",
        ):
            click.echo(f"  accord {command} --config {shlex.quote(str(self.folder / 'accord.toml'))}")
        return DEFECT if missing else DONE

    # --- commands -----------------------------------------------------------------------------------------------
    def accord(self, *words: str, fine: tuple[int, ...] = (DONE,), show: int = MOST_OUTPUT) -> None:
        """Run a command and show the first `show` lines of what it says (0: only when it fails)."""
        click.echo(click.style(f"  $ accord {' '.join(words)}", bold=True))
        self.process([*self.command(*words)], fine, show)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "agent", *words, "--config", str(self.folder / "accord.toml")]

    def process(self, command: list[str], fine: tuple[int, ...], show: int) -> None:
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
        failed = done.returncode not in fine
        lines = done.stdout.splitlines() + (done.stderr.splitlines() if failed else [])
        for line in lines if failed else report.shortened(lines, show) if show else []:
            click.echo(f"    {line}")
        if failed:
            click.echo(
                f"\n{shlex.join(command)}\nended with exit code {done.returncode}; the demo stops here.", err=True
            )
            raise Stopped(done.returncode if done.returncode > 0 else DEFECT)

    @contextmanager
    def agent(self) -> Iterator[None]:
        """`accord run` in the background; stopped by SIGTERM, after which it has to end well."""
        click.echo(click.style("  $ accord run &", bold=True))
        log = self.folder / "run.log"
        with log.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(self.command("run"), stdout=output, stderr=subprocess.STDOUT)
        try:
            yield
            process.send_signal(signal.SIGTERM)
            code = process.wait(STOP)
        except subprocess.TimeoutExpired:
            click.echo(f"The agent did not stop within {STOP} s. Its log: {log}", err=True)
            raise Stopped(DEFECT) from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if code != DONE:
            click.echo(f"{log.read_text(encoding='utf-8')}\nThe agent ended with exit code {code}.", err=True)
            raise Stopped(code if code > 0 else DEFECT)

    # --- what the agent remembers -------------------------------------------------------------------------------
    def config(self) -> Config:
        return load(self.folder / "accord.toml")

    def memory(self) -> tuple[list[Entry], list[Review]]:
        """The journal, oldest first, and what waits in review."""
        with open_state(self.config(), readonly=True) as state:
            return state.journal(limit=EVERYTHING)[::-1], state.reviews()

    def delays(self, entries: Iterable[Entry]) -> list[float]:
        """Seconds from people's edits to the round that carried them over."""
        return [
            (entry.at - entry.line.changed_at) / 1e6
            for entry in entries
            if entry.round > self.first_rounds and entry.line.action == "update" and entry.line.changed_at
        ]


def heading(text: str) -> None:
    click.echo()
    click.echo(click.style(text, bold=True, fg="cyan"))


def say(text: str) -> None:
    click.echo(textwrap.fill(text, _width(), initial_indent="  ", subsequent_indent="  "))


def bullets(lines: Iterable[str]) -> None:
    """Sentences, one below the other; a line that is indented goes on with the one before."""
    for line in lines:
        lead = "    " if line.startswith("  ") else "  • "
        click.echo(textwrap.fill(line.strip(), _width(), initial_indent=lead, subsequent_indent="    "))


def _width() -> int:
    return min(110, shutil.get_terminal_size((100, 24)).columns)
