"""`accord demo`: two databases that never met, the first sync, and people at work."""

from __future__ import annotations

from pathlib import Path

import click

from agent.console import CONTEXT


@click.command(context_settings=CONTEXT)
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=Path("demo"), help="The folder to make.")
@click.option("--seed", type=int, default=7, help="The same seed tells the same story.")
@click.option("--seconds", type=float, default=20.0, help="How long people work.")
def command(folder: Path, seed: int, seconds: float) -> int:
    """Build two databases that differ, bring them into agreement, and keep them so while people work."""
    from agent.demo.story import run

    return run(folder, seed, seconds)
