"""Where the configuration is, and its files as they are written."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from config.errors import ConfigError, Problem
from config.lines import Source, key_lines
from config.secrets import reason

FILE = "accord.toml"
SYSTEM_WIDE = Path("/etc/accord") / FILE


def find(path: Path | None, environ: Mapping[str, str], cwd: Path) -> Path:
    """The agent's file: the given path, else ACCORD_CONFIG, else ./accord.toml, else /etc/accord/accord.toml.

    A folder stands for the `accord.toml` in it. Raises `ConfigError` with the places that were looked in.
    """
    named = environ.get("ACCORD_CONFIG")
    if path is not None:
        places, said = [cwd / path], ""
    elif named:
        places, said = [cwd / named], " (ACCORD_CONFIG names it)"
    else:
        places, said = [cwd / FILE, SYSTEM_WIDE], ""
    places = [place / FILE if place.is_dir() else place for place in places]
    found = next((place for place in places if place.exists()), None)
    if found is not None:
        return found
    looked = " and ".join(str(place) for place in places)
    hint = "Name it with --config PATH, or set ACCORD_CONFIG."
    if path is not None or named:
        hint = "Correct the path, or create the file."
    raise ConfigError(Problem("no-config", f"there is no configuration: looked for {looked}{said}.", hint))


def display(file: Path, cwd: Path) -> str:
    """The name of a file in messages: relative where it is below the working directory."""
    try:
        return str(file.absolute().relative_to(cwd.absolute()))
    except ValueError:
        return str(file)


def read_toml(file: Path, name: str) -> tuple[dict[str, Any], Source] | Problem:
    """What the file says and where, or why it cannot be read. Numbers with a point are exact decimals."""
    try:
        # utf-8-sig: some editors begin a file with a byte-order mark. Line ends as TOML counts them.
        text = file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        return tomllib.loads(text, parse_float=Decimal), Source(name, key_lines(text))
    except OSError as e:
        hint = "Let the agent's account read it." if isinstance(e, PermissionError) else ""
        return Problem("unreadable", f"this file cannot be read: {reason(e)}.", hint, name)
    except UnicodeDecodeError as e:
        line = file.read_bytes()[: e.start].count(b"\n") + 1
        return Problem("not-text", "this file is not UTF-8 text.", "Save it as UTF-8.", name, line)
    except RecursionError:
        return Problem("syntax", "this is no TOML that can be read: it is nested too deeply.", "", name, 1)
    except ValueError as e:
        return syntax_problem(str(e), text, name)


def syntax_problem(words: str, text: str, name: str) -> Problem:
    """The parser's words, its position moved to the front where messages have it."""
    found = re.search(r" \(at line (\d+), column (\d+)\)$", words)
    if found:
        said, line = words[: found.start()], int(found[1])
        message = f"this is no valid TOML: {said} (column {found[2]})."
    else:
        line = text.count("\n") + 1
        message = f"this is no valid TOML: {words.removesuffix(' (at end of document)')} (at the end of the file)."
    return Problem("syntax", message, "", name, line)
