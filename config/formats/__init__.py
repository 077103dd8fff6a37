"""Formats: how values that are kept as text are spelled, so that different spellings of one value compare equal.

`parse` makes a `Format` of what a person wrote, `chain` one of several, `FORMS` says what there is. Pure.
"""

from config.formats.form import Format, Spelled
from config.formats.parse import FORMS, chain, parse

__all__ = ["FORMS", "Format", "Spelled", "chain", "parse"]
