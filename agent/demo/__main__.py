"""`python -m agent.demo`: the same as `accord demo`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from agent.demo.story import run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m agent.demo", description="Build a world, keep it in agreement.")
    parser.add_argument("--dir", type=Path, default=Path("demo"), help="the folder to make, afresh (default: demo)")
    parser.add_argument("--seed", type=int, default=7, help="the same seed tells the same story (default: 7)")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long people work (default: 20)")
    options = parser.parse_args()
    sys.exit(run(options.dir, options.seed, options.seconds))
