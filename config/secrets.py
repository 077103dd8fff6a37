"""Secrets are named in the configuration, never written in it.

A reference is `file:/etc/accord/crm.secret`, `env:NAME` or `credential:NAME` (systemd's LoadCredential=). It is
resolved when a connection is made, so that commands that need none (`accord schema`, `explain`) need no secret.
"""

from __future__ import annotations

import re
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path

REFERENCE = r"^(file:.+|env:[A-Za-z_][A-Za-z0-9_]*|credential:[A-Za-z0-9_][A-Za-z0-9._-]*)$"


class SecretError(Exception):
    """A secret cannot be had: `message` says why, `hint` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def check_reference(text: str) -> None:
    """Raise `ValueError` unless `text` says where a secret is. The text itself is not repeated: it may be one."""
    if re.fullmatch(REFERENCE, text):
        return
    scheme = text.split(":", 1)[0]
    if scheme in ("file", "env", "credential") and ":" in text:
        wanted = {"file": "a path", "env": "the name of an environment variable", "credential": "a credential's name"}
        raise ValueError(f'expected {wanted[scheme]} after "{scheme}:".')
    raise ValueError(
        "a password is not written into the configuration. Put it into a file that only the agent's account can read, "
        'and write "file:/etc/accord/NAME.secret" here ("env:NAME" and "credential:NAME" are known too).'
    )


def read_secret(reference: str, folder: Path, environ: Mapping[str, str]) -> str:
    """The secret behind a reference; relative paths start at `folder`. Raises `SecretError`."""
    scheme, name = reference.split(":", 1)
    if scheme == "env":
        return from_environment(name, environ)
    if scheme == "credential":
        return from_credential(name, environ)
    return from_file(folder / name)


def from_environment(name: str, environ: Mapping[str, str]) -> str:
    if not environ.get(name):
        state = "is empty" if name in environ else "is not set"
        raise SecretError(f"the environment variable {name} {state}.", f"Set {name} where Accord is started.")
    return environ[name]


def from_credential(name: str, environ: Mapping[str, str]) -> str:
    """systemd keeps a credential in a folder of the service's own; it decides who may read it."""
    load = f"Add LoadCredential={name}:/etc/accord/{name}.secret to the unit, or start Accord as that service."
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise SecretError(f'there is no credential "{name}": CREDENTIALS_DIRECTORY is not set.', load)
    return content(Path(folder) / name, load)


def from_file(path: Path) -> str:
    try:
        mode = path.stat().st_mode
    except OSError as e:
        raise SecretError(f"{path}: {reason(e)}.", "Create the file, or correct the path.") from None
    if stat.S_ISREG(mode) and mode & 0o077:
        raise SecretError(
            f"{path} can be read by others than its owner (mode {stat.S_IMODE(mode):04o}).",
            f"Run: chmod 600 {shlex.quote(str(path))}",
        )
    return content(path, "Give the agent's account the right to read it.")


def content(path: Path, hint: str) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as e:
        raise SecretError(f"{path}: {reason(e)}.", hint) from None
    except UnicodeDecodeError:
        raise SecretError(f"{path} is not UTF-8 text.", "Save the secret as one line of UTF-8 text.") from None
    secret = text.removesuffix("\n").removesuffix("\r")  # editors end a file with a line end; it is not meant
    if not secret:
        raise SecretError(f"{path} is empty.", "Write the secret into it.")
    return secret


def reason(error: OSError) -> str:
    """The system's own words, as the middle of a sentence."""
    words = error.strerror or str(error)
    return words[:1].lower() + words[1:]
