"""VAT numbers and other tax ids."""

from __future__ import annotations

import re

from config.formats.form import Format, brief, of_text

BETWEEN = re.compile(r"[\s./\u2010-\u2015\u2212_:,-]+")
LONGEST = 20


def vat(name: str) -> Format:
    """A VAT number of the EU in its shortest form with the country's prefix; any other id without what separates."""
    return of_text(name, read_vat)


def read_vat(text: str) -> str:
    number = BETWEEN.sub("", text).upper()
    if not re.fullmatch(r"[0-9A-Z+*]+", number) or not re.search("[0-9]", number) or len(number) > LONGEST:
        raise ValueError(f"{brief(text)} is no tax id")
    return _of_the_union(number) or number


def _of_the_union(number: str) -> str | None:
    """The number as its country writes it; None when it is no VAT number of the EU, or its check digit is wrong."""
    from stdnum.eu import vat as numbers
    from stdnum.exceptions import ValidationError

    if number.startswith("GR"):  # Greece is EL in VAT numbers
        number = "EL" + number[2:]
    if number[:2].lower() not in {*numbers.MEMBER_STATES, "el"}:
        return None
    try:
        return str(numbers.validate(number))
    except ValidationError:
        return None
