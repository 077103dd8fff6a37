"""How messages show what a person wrote, and what was perhaps meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def shown(value: object) -> str:
    """A value in the words of the file it was read from, cut where it is long."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return f"the list [{', '.join(shown(item) for item in value[:4])}{', …' if len(value) > 4 else ''}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value[:60]}…"' if len(value) > 60 else f'"{value}"'
    return str(value)[:60]


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The known word that was most likely meant, or None."""
    known = list(words)
    folded = {name.casefold(): name for name in known}
    if word.casefold() in folded:
        return folded[word.casefold()]
    found = get_close_matches(word.casefold(), list(folded), n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def suggestion(word: str, words: Iterable[str], none: str = "none") -> str:
    """`Did you mean …?`, or what there is, when nothing is near."""
    known = list(dict.fromkeys(words))
    near = nearest(word, known)
    return f'Did you mean "{near}"?' if near else f"Known here: {', '.join(known) or none}."
