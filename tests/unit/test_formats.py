"""Every format: what is read and written is read again as the same, and no text is more than a `ValueError`."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.values import json_value
from config.formats import FORMS, Format, Spelled, chain, parse
from state.codec import pack_frozen, pack_lines, pack_pair, pack_row, pack_value, unpack_pair, unpack_row, unpack_value
from state.ports import Frozen

SPECS = [
    "email", "url", "lines", "trim", "upper", "lower", "int", "decimal:2", "decimal:2,", "decimal:0",
    "date:%d.%m.%Y", "date:%y%m%d", "date:%Y-%j", "first:,", "first:;", "line:ERP", "phone:DE", "phone:US", "phone:IT",
    "phone:AR", "vat", "country", "country:name", "currency",
]  # fmt: skip
CHAINS = [
    ["first:,", "email"],
    ["line:ERP", "first:;"],
    ["trim", "upper"],
    ["line:Preis", "decimal:2,"],
    ["first:;", "phone:DE"],
]
ALL = [*[[spec] for spec in SPECS], *CHAINS]

# Letters that the formats look at, and those that case, blanks and line ends treat in their own way.
LETTERS = st.text(st.sampled_from("aB1230.,;:/@+-()' \t\r\n\u00a0\u2028ßİΣſERP€ü%"), min_size=1, max_size=24)
DIGITS = st.text(st.sampled_from("0123456789.,-+ '/"), min_size=1, max_size=14)
PHONES = st.builds(
    lambda start, digits, end: start + digits + end,
    st.sampled_from(["+49 (0)", "+49", "0049", "0", "+1 ", "1", "(212) ", "011", "+39 0", "+54 9 ", "+800 ", ""]),
    st.text(st.sampled_from("0123456789 -/"), min_size=5, max_size=13),
    st.sampled_from(["", "", " x12", " ext. 7", ";ext=9", "#0"]),
)
IDS = st.builds(
    lambda start, digits, end: start + digits + end,
    st.sampled_from(["DE", "ATU", "NL", "BE", "el ", "GR", "ESX", "FR", "IE", "GB", "XI", "EU", "IM", ""]),
    st.text(st.sampled_from("0123456789 .-"), min_size=6, max_size=12),
    st.sampled_from(["", "B01", "F", "MWST"]),
)
NAMES = st.sampled_from(
    ["de", "DEU", "276", "Österreich", "the Netherlands", "St. Lucia", "EUR", "us $", "Kč", "Congo"]
)
TEXT = st.one_of(LETTERS, DIGITS, PHONES, IDS, NAMES, st.text(min_size=1, max_size=40)).filter(str.strip)


def form(specs: list[str]) -> Format:
    return chain([parse(spec) for spec in specs])


def once(form: Format, text: str) -> Any:
    """What is read; `...` for a text that is refused in a sentence."""
    try:
        return form.read(text)
    except ValueError as error:
        assert not str(error).endswith((".", "?")), "it is put into a sentence"
        return ...


def test_every_format_is_looked_at_here() -> None:
    assert {spec.partition(":")[0] for spec in SPECS} == {name.partition(":")[0] for name in FORMS}


@pytest.mark.parametrize("specs", ALL, ids=" ".join)
@given(text=TEXT)
@settings(max_examples=150)
def test_what_is_written_in_place_reads_as_the_same(specs: list[str], text: str) -> None:
    f = form(specs)
    value = once(f, text)
    if value is ...:
        return
    written = f.write(value, text)
    assert (f.read(written) if written and written.strip() else None) == value
    assert f.write(value, written) == written, "the tidy form is not stable"
    if f.partial:
        assert written == text or value is not None


@pytest.mark.parametrize("specs", ALL, ids=" ".join)
@given(text=TEXT)
@settings(max_examples=80)
def test_a_new_row_and_a_lost_spelling(specs: list[str], text: str) -> None:
    f = form(specs)
    value = once(f, text)
    if value is ... or value is None:
        return
    bare = str(value) if isinstance(value, str) else value
    for some in (value, bare):
        written = f.write(some, None)
        assert written is not None and type(written) is str
        assert f.read(written) == value


@pytest.mark.parametrize("specs", ALL, ids=" ".join)
@given(value=st.one_of(TEXT, st.none(), st.integers(), st.decimals(), st.dates(), st.booleans()), text=st.none() | TEXT)
@settings(max_examples=80)
def test_a_value_of_any_kind_is_written_or_refused(specs: list[str], value: Any, text: str | None) -> None:
    f = form(specs)
    try:
        written = f.write(value, text)
    except ValueError as error:
        assert not str(error).endswith(".")
    else:
        assert written is None or written.strip()
        if isinstance(value, bool):
            pytest.fail("a switch is neither text nor number")


# --- spellings that are the same, and what is written -----------------------------------------------------------------

SAME: list[tuple[str, str, str, Any]] = [
    ("email", "Info@Acme.TEST", " info@acme.test ", "Info@Acme.TEST"),
    ("url", "https://www.Acme.test/", "www.acme.test", "https://www.Acme.test/"),
    ("url", "http://acme.test:80/a/?b=C", "acme.test/a/?b=C", "http://acme.test:80/a/?b=C"),
    ("url", "http://intranet/", "//intranet", "http://intranet/"),
    ("lines", "Hauptstr. 1 \r\nHinterhaus\r\n", "Hauptstr. 1\nHinterhaus", "Hauptstr. 1\r\nHinterhaus"),
    ("trim", " P-100\u00a0", "P-100", "P-100"),
    ("phone:DE", "030 123456", "+49 (0)30 12 34-56", "+49 30 123456"),
    ("phone:DE", "(030) 123456 DW 7", "0049 30 123456 x7", "+49 30 123456 ext. 7"),
    ("phone:DE", "+1 (212) 555-1234", "tel:+1-212-555-1234", "+1 212-555-1234"),
    ("phone:US", "(212) 555-1234", "1-212-555-1234", "+1 212-555-1234"),
    ("phone:IT", "06 1234567", "+39 (0)6 1234567", "+39 06 123 4567"),
    ("phone:AU", "1300 123 456", "+61 1300 123 456", "+61 1300 123 456"),
    ("vat", "DE 136 695 976", "de136.695.976", "DE136695976"),
    ("vat", "GR094259216", "EL 094259216", "EL094259216"),
    ("vat", "NL4495445B01", "NL004495445B01", "NL004495445B01"),
    ("vat", "30/123/45678", "3012345678", "3012345678"),
    ("vat", "DE123456780", "de 123 456 780", "DE123456780"),
    ("country", "Deutschland", " DEU ", "DE"),
    ("country", "Côte d’Ivoire", "Ivory Coast", "CI"),
    ("country", "St Kitts & Nevis", "Saint Kitts and Nevis", "KN"),
    ("country", "Oesterreich", "040", "AT"),
    ("country:name", "u.s.a.", "Vereinigte Staaten", "United States"),
    ("country:name", "Congo, Democratic Republic of the", "Kongo-Kinshasa", "DR Congo"),
    ("currency", "€", "euro", "EUR"),
    ("currency", "us $", "US Dollar", "USD"),
    ("currency", "Schweizer Franken", "chf", "CHF"),
    ("upper", "p-100", "P-100", "P-100"),
    ("lower", "P-100", "p-100", "p-100"),
    ("date:%d.%m.%Y", "1.2.2024", " 01.02.2024", "01.02.2024"),
    ("decimal:2", "1,234.5", "1 234.50", "1234.50"),
    ("decimal:2", "+.5", "0.500", "0.50"),
    ("decimal:2", "\u2212 3", "-3.00", "-3.00"),
    ("decimal:2", "-0.00", "0", "0.00"),
    ("decimal:2,", "1.234,5", "1'234,50", "1234,50"),
    ("decimal:2,", "1.234", "1234", "1234,00"),
    ("decimal:2,", "1\u202f234\u202f567,1", "1234567,10", "1234567,10"),
    ("int", "007", "7", "7"),
    ("int", "1 000", "1000", "1000"),
    ("first:,", "info@x.test , sales@x.test", " info@x.test", "info@x.test , sales@x.test"),
    ("first:,", " , b@x.test", "b@x.test", " , b@x.test"),
    ("line:ERP", "called\nERP: order 7\nsent", "ERP:order 7", "called\nERP: order 7\nsent"),
]


@pytest.mark.parametrize(("spec", "left", "right", "written"), SAME)
def test_two_spellings_of_one_value(spec: str, left: str, right: str, written: str) -> None:
    f = parse(spec)
    assert f.read(left) == f.read(right)
    assert hash(f.read(left)) == hash(f.read(right))
    assert f.write(f.read(left), left) == written
    if f.kind == "text" and not f.partial:
        assert f.read(str(f.read(left))) == f.read(left), "the spelling was lost on the way"


DIFFERENT = [
    ("phone:DE", "030 123456", "030 123457"), ("phone:DE", "030 123456", "030 123456 x1"),
    ("phone:DE", "030 123456", "+43 30 123456"), ("vat", "DE136695976", "AT136695976"), ("country", "CG", "CD"),
    ("country", "Niger", "Nigeria"), ("country", "Guinea", "Guinea-Bissau"), ("currency", "US$", "CA$"),
    ("email", "a@x.test", "b@x.test"), ("url", "acme.test/a", "acme.test/A"), ("url", "ftp://acme.test", "acme.test"),
    ("url", "acme.test/?a=", "acme.test?a="), ("lines", "a\nb", "a b"), ("trim", "a b", "ab"), ("upper", "a", "b"),
    ("decimal:2", "1.20", "1.02"), ("int", "-7", "7"), ("date:%d.%m.%Y", "01.02.2024", "02.01.2024"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "left", "right"), DIFFERENT)
def test_two_values(spec: str, left: str, right: str) -> None:
    assert parse(spec).read(left) != parse(spec).read(right)


REFUSED = [
    ("email", "nobody"), ("email", "a@b@c"), ("email", "a b@x.test"), ("email", "Ann <a@x.test>"), ("email", "@x"),
    ("email", "a@x.test, b@x.test"), ("email", "a@x.test;b"), ("url", "see above"), ("url", "none"),
    ("url", "n/a"), ("url", "mailto:a@x.test"), ("url", "a@x.test"), ("url", "http://"), ("decimal:2", "1,23"),
    ("decimal:2", "1.234"), ("decimal:2", "1,234,56"), ("decimal:2", "1,234 567"), ("decimal:2", "12 €"),
    ("decimal:2", "."), ("decimal:2", "1e3"), ("decimal:2", "NaN"), ("decimal:2", "٣"), ("decimal:2,", "1.23"),
    ("decimal:2,", "1,234"), ("decimal:2", "9" * 201), ("int", "1.5"), ("int", "12-"), ("int", "0x1"),
    ("phone:DE", "123456"), ("phone:DE", "30 123456"), ("phone:DE", "110"), ("phone:DE", "0800 FLOWERS"),
    ("phone:DE", "030 123456 Ott"), ("phone:DE", "(until 5) 030 123456"), ("phone:DE", "030 123456 / 0171 1234567"),
    ("phone:DE", "+999 123456"), ("phone:DE", "++49 30 123456"), ("phone:DE", "030 123456 x1 x2"), ("phone:DE", "-"),
    ("phone:US", "555-1234"), ("vat", "none"), ("vat", "n/a"), ("vat", "1234567890123456789012"), ("vat", "ДЕ13669"),
    ("country", "Congo"), ("country", "Korea"), ("country", "California"), ("country", "XX"), ("country", "(not set)"),
    ("currency", "$"), ("currency", "£"), ("currency", "Dollar"), ("currency", "kr"), ("currency", "XXX"),
    ("currency", "-"), ("country", "-"), ("vat", "-"), ("date:%d.%m.%Y", "31.02.2024"),
    ("date:%d.%m.%Y", "2024-02-01"), ("date:%d.%m.%Y", "01.02.2024 10:00"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "text"), REFUSED)
def test_a_text_that_is_no_such_value_is_refused(spec: str, text: str) -> None:
    assert once(parse(spec), text) is ...


# --- parts of a column ------------------------------------------------------------------------------------------------

PARTS: list[tuple[str, str | None, str | None, str | None]] = [
    ("first:,", "new@x", "old@x, b@x ,c@x", "new@x, b@x ,c@x"),
    ("first:,", "new@x", None, "new@x"),
    ("first:,", "new@x", " old@x ", " new@x "),
    ("first:,", None, "old@x, b@x", "b@x"),
    ("first:,", None, "old@x", None),
    ("first:,", None, None, None),
    ("first:;", "x", "a,b;c", "x;c"),
    ("line:ERP", "new", "ERP: old", "ERP: new"),
    ("line:ERP", "new", None, "ERP: new"),
    ("line:ERP", "new", "called", "called\nERP: new"),
    ("line:ERP", "new", "called\r\nback\r\n", "called\r\nback\r\nERP: new"),
    ("line:ERP", "new", "a\r\nERP: old\r\nb", "a\r\nERP: new\r\nb"),
    ("line:ERP", "new", "ERPX: a\n ERP: b\nERP: c\nERP: d", "ERPX: a\n ERP: b\nERP: new\nERP: d"),
    ("line:ERP", None, "a\nERP: old\nb", "a\nb"),
    ("line:ERP", None, "a\nERP: old", "a"),
    ("line:ERP", None, "ERP: old", None),
    ("line:ERP", None, "a", "a"),
    ("line:ERP", "old", "ERP:old  \n", "ERP:old  \n"),
]


@pytest.mark.parametrize(("spec", "value", "standing", "written"), PARTS)
def test_the_rest_of_the_column_stays(spec: str, value: str | None, standing: str | None, written: str | None) -> None:
    f = parse(spec)
    assert f.partial
    assert f.write(value, standing) == written


@pytest.mark.parametrize(("spec", "value"), [("first:,", "a, b"), ("line:ERP", "a\nb")])
def test_a_value_that_would_not_be_one_part_is_refused(spec: str, value: str) -> None:
    with pytest.raises(ValueError, match="one"):
        parse(spec).write(value, "x")


@given(rest=st.lists(st.text(st.characters(exclude_characters=",", exclude_categories=["Cs"])), min_size=1))
def test_the_other_items_of_a_list_stay_letter_by_letter(rest: list[str]) -> None:
    written = parse("first:,").write("new", ",".join(["old", *rest]))
    assert written is not None and written.split(",") == ["new", *rest]


# --- spellings --------------------------------------------------------------------------------------------------------


def test_a_spelling_goes_on_to_another_system() -> None:
    mail = chain([parse("first:,"), parse("email")])
    value = mail.read("Ann.Lee@Acme.TEST, b@x.test")
    assert value == "ann.lee@acme.test" and isinstance(value, Spelled)
    assert parse("email").write(value, "old@x.test") == "Ann.Lee@Acme.TEST"
    assert parse("trim").write(value, None) == "Ann.Lee@Acme.TEST"
    assert mail.write(value, "old@x.test, b@x.test") == "Ann.Lee@Acme.TEST, b@x.test"


def test_the_state_keeps_the_comparable_text() -> None:
    value = Spelled("a@x.test", "A@X.test")
    assert unpack_value(pack_value(value)) == "a@x.test"
    assert unpack_row(pack_row([value, 2**70])) == ("a@x.test", 2**70)
    assert unpack_pair(pack_pair([value, Decimal(1)], [1, 2])) == (("a@x.test", Decimal(1)), (1, 2))
    assert pack_row([value]) == pack_row(["a@x.test"]), "what is equal must be kept alike: it is hashed"
    assert pack_lines([("email", value, None)]) == pack_lines([("email", "a@x.test", None)])
    assert type(json_value(value)) is str, "it goes into questions, as JSON"
    assert pack_frozen({"email": Frozen({}, {"crm": (value,)}, (), None, None)}) is not None


# --- what a person writes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("emial", 'Did you mean "email"?'), ("Upper", 'Did you mean "upper"?'), ("", "Known here"),
        ("email:x", "takes nothing"), ("decimal", "like decimal:2"), ("decimal:x", "like decimal:2"),
        ("decimal:19", "from 0 to 18"), ("first", "like first:,"), ("first: ", "like first:,"),
        ("line:", "like line:ERP"), ("line: :", "like line:ERP"), ("date", "like date:%d.%m.%Y"),
        ("phone", "like phone:DE"), ("phone:", "like phone:DE"), ("phone:XX", "like phone:DE"),
        ("phone:de", 'Write "phone:DE"'), ("country:code", "country:name"), ("country:", "country:name"),
        ("date:%d.%m", "does not say"), ("date:%d %B %Y", "%B"), ("date:%", "no part of a date"),
        ("date:%d.%m.%Y %d", "does not say"), ("date:%Y%m%d%Y", "does not say"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_format(spec: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(spec)
    assert words in str(caught.value)


@pytest.mark.parametrize("specs", [["email", "first:,"], ["int", "trim"], []])
def test_formats_that_do_not_fit_together(specs: list[str]) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        form(specs)


@given(
    spec=st.one_of(
        st.text(max_size=20),
        st.builds(
            lambda a, b: f"{a}:{b}",
            st.sampled_from(["date", "decimal", "first", "line", "phone"]),
            st.text(max_size=12),
        ),
    )
)
@example("date:%Y%%%d%m")
@example("date:%d.%m.%Y\x00")
@settings(max_examples=300)
def test_no_format_is_more_than_a_sentence(spec: str) -> None:
    try:
        parse(spec)
    except ValueError as error:
        assert str(error)


def test_kinds() -> None:
    assert [parse(s).kind for s in ("trim", "int", "decimal:2", "date:%d.%m.%Y")] == ["text", "int", "decimal", "date"]
    assert chain([parse("line:x"), parse("int")]).kind == "int"
    assert parse("decimal:2").read("1.5") == Decimal("1.50") and parse("date:%y%m%d").read("240201") == date(2024, 2, 1)


# --- the page -------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs/formats.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| `([^`]+)` \| `([^`]+)` \|$", PAGE, re.M)


def test_the_page_says_what_there_is() -> None:
    assert re.findall(r"^\| `([^`]+)` \| ([^|]+) \|$", PAGE, re.M) == list(FORMS.items())
    assert len(EXAMPLES) == PAGE.partition("| written |")[2].count("\n| `"), "every row is an example that is tried"


@pytest.mark.parametrize(("spec", "this", "equal", "written"), EXAMPLES)
def test_an_example_of_the_page(spec: str, this: str, equal: str, written: str) -> None:
    f = parse(spec)
    assert f.read(this) == f.read(equal)
    assert f.write(f.read(this), this) == written


@pytest.mark.parametrize(
    ("spec", "text"),
    [("phone:DE", "030 123456 (until 5 pm)"), ("currency", "kr"), ("country", "Congo"), ("decimal:2", "1.234")],
)
def test_what_the_page_says_is_refused(spec: str, text: str) -> None:
    assert text in PAGE
    assert once(parse(spec), text) is ...
