"""Countries and currencies: codes and names of the ISO tables that lie beside this file."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path

from config.formats.form import Format, brief, of_text

SHARED_COUNTRIES = ("congo", "kongo", "korea", "virgin islands", "america")
ALIKE = {"und": "and", "st": "saint"}
SPELLED_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})


def country(name: str) -> Format:
    """The two-letter code, read from any code or name of the country."""
    return of_text(name, read_country)


def country_name(name: str) -> Format:
    """As `country`, written as the English name."""
    return of_text(name, read_country, lambda code: _countries()[1][code])


def read_country(text: str) -> str:
    code = _countries()[0].get(_folded(text))
    if code is None:
        why = "the name of more than one country" if _folded(text) in SHARED_COUNTRIES else "no country known here"
        raise ValueError(f"{brief(text)} is {why}")
    return code


def currency(name: str) -> Format:
    """The three-letter code, read from codes, names, and signs that one currency alone uses."""
    return of_text(name, read_currency)


def read_currency(text: str) -> str:
    code = _currencies().get(_sign(text)) or _currencies().get(_folded(text))
    if code is None:
        hint = "" if re.search(r"\w", text) else ", or more than one uses it"
        raise ValueError(f"{brief(text)} is no currency known here{hint}")
    return code


def _folded(text: str) -> str:
    """What names are compared by: without case, accents, points and the like; "and" and "saint" in one spelling."""
    text = unicodedata.normalize("NFKD", text.casefold())
    text = "".join(c for c in text if not unicodedata.combining(c))
    text = re.sub(r"[.’'`]", "", text.replace("&", " and "))
    words = re.sub(r"[\W_]+", " ", text).split()
    return " ".join(ALIKE.get(word, word) for word in words).removeprefix("the ")


def _sign(text: str) -> str:
    """What signs are compared by, `US$` and `us $` alike."""
    return "sign:" + "".join(text.casefold().replace(".", "").split())


@cache
def _countries() -> tuple[dict[str, str], dict[str, str]]:
    """Codes by all that a country is called; names by code."""
    codes, names = {}, {}
    for code, three, number, name, others in _rows("countries.tsv"):
        names[code] = name
        for called in (code, three, number, name, *others.split("|")):
            if called:
                codes[_folded(called)] = codes[_folded(called.translate(SPELLED_OUT))] = code
    return codes, names


@cache
def _currencies() -> dict[str, str]:
    """Codes by all that a currency is called, and by its signs."""
    codes = {}
    for code, number, others in _rows("currencies.tsv"):
        for called in (code, number, *others.split("|")):
            if called:
                codes[_folded(called) if re.fullmatch(r"[\w\s.,’'&()-]+", called) else _sign(called)] = code
    return codes


def _rows(file: str) -> list[list[str]]:
    text = (Path(__file__).parent / file).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
