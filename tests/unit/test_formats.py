"""Every format: what is read and written is read again as the same, and no text is more than a `ValueError`."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
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
    "date:%d.%m.%Y", "date:%y%m%d", "date:%Y-%j", "first:,", "first:;", "line:ERP",
]  # fmt: skip
CHAINS = [["first:,", "email"], ["line:ERP", "first:;"], ["trim", "upper"], ["line:Preis", "decimal:2,"]]
ALL = [*[[spec] for spec in SPECS], *CHAINS]

# Letters that the formats look at, and those that case, blanks and line ends treat in their own way.
LETTERS = st.text(st.sampled_from("aB1230.,;:/@+-()' \t\r\n\u00a0\u2028ßİΣſERP€ü%"), min_size=1, max_size=24)
DIGITS = st.text(st.sampled_from("0123456789.,-+ '/"), min_size=1, max_size=14)
TEXT = st.one_of(LETTERS, DIGITS, st.text(min_size=1, max_size=40)).filter(str.strip)


def form(specs: list[str]) -> Format:
    return chain([parse(spec) for spec in specs])


def once(form: Format, text: str) -> Any:
    """What is read; `...` for a text that is refused in a sentence."""
    try:
        return form.read(text)
    except ValueError as error:
        assert str(error).endswith((".", "?")), str(error)
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
        assert str(error).endswith(".")
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


DIFFERENT = [
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
    ("date:%d.%m.%Y", "31.02.2024"), ("date:%d.%m.%Y", "2024-02-01"), ("date:%d.%m.%Y", "01.02.2024 10:00"),
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
    with pytest.raises(ValueError, match=r"\.$"):
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
        st.builds(lambda a, b: f"{a}:{b}", st.sampled_from(["date", "decimal", "first", "line"]), st.text(max_size=12)),
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
