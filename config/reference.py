"""The reference of all keys in docs/configuration.md, made from the model so that it cannot lag behind.

`python -m config.reference` writes it into the page; a test compares.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from config.model import (
    AgentOptions,
    DefaultOptions,
    EntityOptions,
    FieldOptions,
    LogOptions,
    LookupOptions,
    Options,
    ReferenceOptions,
    SweepOptions,
    SystemOptions,
    TableOptions,
)
from config.schema import form_of, summary, words, written_default

BEGIN, END = "<!-- reference: begin -->", "<!-- reference: end -->"
SECTIONS: tuple[tuple[str, type[Options]], ...] = (
    ("accord.toml: `[agent]`", AgentOptions),
    ("accord.toml: `[sweep]`", SweepOptions),
    ("accord.toml: `[log]`", LogOptions),
    ("accord.toml: `[systems.S]`", SystemOptions),
    ("accord.toml: `[systems.S.defaults]`", DefaultOptions),
    ("entities/*.toml: `[ENTITY]`", EntityOptions),
    ("entities/*.toml: `[ENTITY.S]`", TableOptions),
    ("entities/*.toml: `[ENTITY.fields]`", FieldOptions),
    ("entities/*.toml: `[lookups.L]`", LookupOptions),
    ("entities/*.toml: `[lookups.L.S]`", ReferenceOptions),
)


def reference() -> str:
    """All sections with their keys, as Markdown."""
    return "\n\n".join(f"### {title}\n\n{summary(model)}\n\n{table(model)}" for title, model in SECTIONS)


def table(model: type[Options]) -> str:
    lines = ["| key | written as | default | meaning |", "|---|---|---|---|"]
    for name, info in model.model_fields.items():
        form = form_of(info)
        default = written_default(info)
        cells = (
            f"`{info.alias or name}`",
            form.text if form else "a section",
            "required" if info.is_required() else f"`{json.dumps(default)}`" if default is not None else "",
            words(info.description or ""),
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def filled(page: str) -> str:
    """The page with the reference between its two marks renewed."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{reference()}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    page = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/configuration.md")
    page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
