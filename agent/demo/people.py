"""The people of the demo: a process of its own that edits both databases with plain SQL, as two offices would.

    python -m agent.demo.people DIR --seconds 20 --seed 7

It knows nothing of Accord. Every edit goes to `DIR/ledger.jsonl` as soon as it is committed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from agent.demo.day import Offices, schedule
from agent.demo.office import Ledger, Office
from agent.demo.world import imagine


def work(folder: Path, seconds: float, seed: int) -> int:
    """Live through the working day in `seconds`; returns how many actions were done."""
    ledger = Ledger(folder / "ledger.jsonl")
    offices = Offices(
        Office("crm", folder / "crm.db", ledger), Office("erp", folder / "erp.db", ledger), pause=min(1.0, seconds / 20)
    )
    start = time.monotonic()
    actions = schedule(imagine(seed), seed, seconds)
    for due, action in actions:
        time.sleep(max(0.0, start + due - time.monotonic()))
        action(offices)
    return len(actions)


def main(arguments: list[str] | None = None) -> int:
    """The process: arguments as above."""
    parser = argparse.ArgumentParser(prog="python -m agent.demo.people", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder with crm.db and erp.db")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the day takes")
    parser.add_argument("--seed", type=int, default=7, help="the seed that the world was made from")
    options = parser.parse_args(arguments)
    for name in ("crm.db", "erp.db"):
        if not (options.folder / name).is_file():
            print(f"{options.folder / name}: there is no such file. Build the world first.", file=sys.stderr)  # noqa: T201
            return 3
    work(options.folder, options.seconds, options.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
