"""Tables of text, cut to the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence

NARROWEST = 8  # a column that has to give way keeps so many characters
GAP = "  "


def terminal_width() -> int:
    """Of the terminal, or of a page that people read, where there is none (COLUMNS says otherwise)."""
    return shutil.get_terminal_size((140, 24)).columns


def one_line(text: str) -> str:
    """Line breaks and other control characters made visible."""
    return "".join(c if c.isprintable() else {"\n": "⏎", "\t": "⇥"}.get(c, "·") for c in text)


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def grid(rows: Sequence[Sequence[str]], flexible: Collection[int] = (), indent: int = 0) -> list[str]:
    """Lines, the columns one below the other. `flexible` columns give way, the widest first, when there is no room."""
    if not rows:
        return []
    cells = [[one_line(text) for text in row] for row in rows]
    widths = [max(len(row[n]) for row in cells) for n in range(len(cells[0]))]
    room = terminal_width() - indent - len(GAP) * (len(widths) - 1)
    while sum(widths) > room:
        widest = max((n for n in flexible if widths[n] > NARROWEST), key=lambda n: widths[n], default=None)
        if widest is None:
            break
        widths[widest] -= 1
    lead = " " * indent
    return [
        (lead + GAP.join(cut(text, width).ljust(width) for text, width in zip(row, widths, strict=True))).rstrip()
        for row in cells
    ]
