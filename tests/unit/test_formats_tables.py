"""The tables of countries and currencies: whole, and no name stands for two of them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from config import formats
from config.formats import parse

FOLDER = Path(formats.__file__).parent


def rows(file: str) -> list[list[str]]:
    lines = (FOLDER / file).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


COUNTRIES = [
    (code, [code, three, number, name, *more.split("|")]) for code, three, number, name, more in rows("countries.tsv")
]
CURRENCIES = [(code, [code, number, *more.split("|")]) for code, number, more in rows("currencies.tsv")]


@pytest.mark.parametrize(("spec", "table"), [("country", COUNTRIES), ("currency", CURRENCIES)])
def test_everything_that_is_listed_reads_as_its_own_code(spec: str, table: list[tuple[str, list[str]]]) -> None:
    """A name that a later row took from an earlier one would read as the later one's code."""
    read = parse(spec).read
    for code, called in table:
        assert {name: read(name) for name in called if name} == {name: code for name in called if name}


def test_the_tables_are_whole() -> None:
    assert len(COUNTRIES) == 249 + 1  # ISO 3166-1 and Kosovo
    assert all(re.fullmatch("[A-Z]{2}", code) for code, _ in COUNTRIES)
    assert all(re.fullmatch("[A-Z]{3}", code) for code, _ in CURRENCIES)
    for table in (COUNTRIES, CURRENCIES):
        assert max(Counter(code for code, _ in table).values()) == 1


def test_the_name_that_is_written_is_read_again() -> None:
    names = parse("country:name")
    for code, called in COUNTRIES:
        assert names.write(code, None) == called[3]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Germany", "DE"), ("Deutschland", "DE"), ("United Kingdom", "GB"), ("Turkiye", "TR"), ("Macedonia", "MK"),
        ("Holy See", "VA"), ("Swaziland", "SZ"), ("Cape Verde", "CV"), ("Kosovo", "XK"), ("Taiwan", "TW"),
        ("Russia", "RU"), ("Viet Nam", "VN"), ("Hong Kong", "HK"), ("Laos", "LA"), ("Czech Republic", "CZ"),
        ("Schweiz", "CH"), ("Niederlande", "NL"), ("Türkei", "TR"), ("Weissrussland", "BY"), ("Südkorea", "KR"),
    ],
)  # fmt: skip
def test_usual_names(text: str, code: str) -> None:
    assert parse("country").read(text) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [("£E", None), ("Pound Sterling", "GBP"), ("Yen", "JPY"), ("zł", "PLN"), ("₹", "INR"), ("Renminbi", "CNY")],
)
def test_usual_money(text: str, code: str | None) -> None:
    if code is None:
        with pytest.raises(ValueError):
            parse("currency").read(text)
    else:
        assert parse("currency").read(text) == code
