"""The expression language: what it gives, what it refuses, and where it says so."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from config.expressions import Expression, ExpressionError, condition, expression
from config.expressions.functions import FUNCTIONS
from config.records import Value

TYPES: dict[str, str | None] = {
    "won": "bool", "state": "text", "name": "text", "amount": "decimal", "quantity": "int", "day": "date",
    "at": "datetime", "customer": "ref", "token": "bytes", "any": None, "nothing": "text",
}  # fmt: skip
ROW: list[Value] = [
    True, "draft", "Acme  GmbH ", Decimal("12.50"), 4, date(2026, 1, 31), datetime(2026, 1, 31, 23, 30, tzinfo=UTC),
    "0198c2", b"\x00", 7, None,
]  # fmt: skip


def made(text: str) -> Expression:
    return expression(text, TYPES)


def given(text: str) -> Value:
    return made(text)(ROW)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("won", True),
        ("not won", False),
        ("won and quantity > 3", True),
        ("quantity > 5 or amount < 20", True),
        ("'a' if won else 'b'", "a"),
        ("1 < quantity <= 4", True),
        ("1 < quantity < 4", False),
        ("state in ('draft', 'sent')", True),
        ("state not in ['draft', 'sent']", False),
        ("quantity == 4.0", True),
        ("won != False", True),
        # numbers are exact
        ("0.1 + 0.2 == 0.3", True),
        ("amount * 3", Decimal("37.50")),
        ("quantity + 1", 5),
        ("quantity - 5", -1),
        ("-quantity", -4),
        ("10 / quantity", Decimal("2.5")),
        ("12345678901234567890.12 + 0.01", Decimal("12345678901234567890.13")),
        ("12345678901234567890.12 * 12345678901234567890.12 > 0", True),
        ("1_000", 1000),
        ("round(10 / 3, 4)", Decimal("3.3333")),
        ("round(2.5)", Decimal(3)),
        ("round(-2.5)", Decimal(-3)),
        ("round(0.125, 2)", Decimal("0.13")),
        ("round(1250, -2)", 1300),
        ("quantity == round(quantity, 0)", True),
        ("abs(0 - amount)", Decimal("12.50")),
        ("min(3, amount, quantity)", 3),
        ("max(day, date('2026-02-01'))", date(2026, 2, 1)),
        # texts
        ("'DEAL-' + text(quantity)", "DEAL-4"),
        ("upper(state)", "DRAFT"),
        ("lower('ÄB')", "äb"),
        ("trim(name)", "Acme GmbH"),
        ("compact('DE 123-4/x')", "DE1234x"),
        ("left(state, 2)", "dr"),
        ("right(state, 2)", "ft"),
        ("right(state, 0)", None),
        ("replace('a.b.c', '.', '')", "abc"),
        ("join(' ', 'order', nothing, state, amount)", "order draft 12.5"),
        ("join('', 'a', 'b')", "ab"),
        ("len(state)", 5),
        ("contains(state, 'raf')", True),
        ("startswith(state, 'dr')", True),
        ("endswith(state, 'dr')", False),
        ("text(100.0)", "100"),
        ("text(1.50)", "1.5"),
        ("text(0.0)", "0"),
        ("text(won)", "true"),
        ("text(day)", "2026-01-31"),
        ("text(at)", "2026-01-31T23:30:00Z"),
        ("int('12')", 12),
        ("int(4.0)", 4),
        ("decimal(' -12.50 ')", Decimal("-12.50")),
        # dates
        ("date(at) == day", True),
        ("date('2026-01-31') == day", True),
        ("year(day) == 2026 and month(day) == 1 and day(at) == 31", True),
        # empty is empty
        ("nothing == None", True),
        ("nothing is None", True),
        ("name is not None", True),
        ("nothing == ''", True),
        ("nothing == 'x'", False),
        ("nothing != 'x'", True),
        ("nothing < 'x'", False),
        ("nothing > 'x'", False),
        ("nothing + 'x'", None),
        ("upper(nothing)", None),
        ("len(nothing)", 0),
        ("contains(nothing, 'x')", False),
        ("filled(nothing)", False),
        ("empty(nothing)", True),
        ("filled(customer)", True),
        ("first(nothing, '', ' ', state)", "draft"),
        ("coalesce(nothing, 'x')", "x"),
        ("min(None, 3)", 3),
        ("' '", None),
        ("nothing in ('a', None)", True),
        ("None and won", False),
        # the type is not known before
        ("any > 5", True),
        ("any == 'x'", False),
        ("any + 1", 8),
        # several lines are one
        ("\n  won\n  and filled(name)\n", True),
    ],
)
def test_what_it_gives(text: str, value: Value) -> None:
    found = given(text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("wno", 'column 1: no field is called "wno". Did you mean "won"?'),
        ("won and nmae == 'x'", 'column 9: no field is called "nmae". Did you mean "name"?'),
        ("true", 'column 1: no field is called "true". Did you mean "True"?'),
        ("fild(name)", 'column 1: no function is called "fild". Did you mean "filled"?'),
        ("len", "len() is a function"),
        ("  wno", "column 3: "),
        ("won\n  and wno", "column 11: "),
        ("name == 'ä' and wno", "column 17: "),
        ("amount > 'x'", "column 10: a number cannot be compared with text."),
        ("won == 1", "true or false cannot be compared with a number"),
        ("day < at", "a date cannot be compared with a date with time"),
        ("customer == 'x'", "a reference cannot be compared with text"),
        ("customer < customer", "customer is a reference, which has no order"),
        ("won < True", "won is true or false, which has no order"),
        ("state and won", "column 1: state is text, which is neither true nor false."),
        ("not amount", "amount is a number, which is neither true nor false"),
        ("'x' if name else 'y'", "name is text, which is neither true nor false"),
        ("state + quantity", "quantity is a number, which is no text; text() makes one of it"),
        ("name * 3", "column 1: name is text, which is no number."),
        ("-name", "name is text, which is no number"),
        ("upper(quantity)", "quantity is a number, which is not what upper() takes"),
        ("upper(name, name)", "upper() takes 1 value, not 2"),
        ("round()", "round() takes 1 to 2 values, not 0"),
        ("min(1)", "min() takes 2 or more values, not 1"),
        ("first(name, quantity)", "text does not go together with a number"),
        ("1 if won else 'x'", "a number does not go together with text"),
        ("left(name, 1.5)", "1.5 is a number, which is not what left() takes"),
        ("text(customer)", "customer is a reference, which is not what text() takes"),
        ("state in name", "column 10: behind `in` stands a list"),
        ("state in ('a', 1)", "text cannot be compared with a number"),
        ("('a', 'b')", "a list stands behind `in` only"),
        ("won is True", "`is` asks for None only"),
        ("won = True", "column 5: two values are compared with ==."),
        ("won && name", "write and in place of &&"),
        ("won and", "this is no expression"),
        ("(won", "'(' was never closed"),
        ("", "the expression is empty"),
        ("  \n ", "the expression is empty"),
        ("won # and filled(name)", "column 5: a comment cannot stand in an expression"),
        ("\nwon # only won ones\nand filled(name)", "a comment cannot stand in an expression"),
        ("state in ('a' 'b')", "column 15: two texts stand side by side"),
        ("'a\nb' == name", "a text in quotes cannot go over several lines"),
    ],
)
def test_what_is_refused_before_anything_runs(text: str, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        made(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("amount / 0", "a number is divided by zero."),
        ("int(state)", "'draft' is no whole number."),
        ("int(1.5)", "1.5 is no whole number."),
        ("decimal('1e5')", "'1e5' is no number."),
        ("date(state)", "'draft' is no date."),
        ("date('2026-02-30')", "day is out of range for month."),
        ("left(state, 0 - 1)", "-1 is no number of characters."),
        ("round(amount, 31)", "31 is no number of digits to round to."),
        ("any and won", "a number is neither true nor false."),
        ("any > 'x'", "a number cannot be compared with text."),
        ("upper(any)", "a number is no text."),
        ("10 / 3 * (10 / 3) * (10 / 3) * (10 / 3) * (10 / 3)", "too long to be exact"),
    ],
)
def test_what_cannot_be_worked_out(text: str, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        given(text)
    assert said in str(caught.value) and caught.value.column is None


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("won", "bool"),
        ("quantity + 1", "int"),
        ("quantity + amount", "decimal"),
        ("quantity / 2", "decimal"),
        ("1.5", "decimal"),
        ("round(quantity)", "int"),
        ("first(nothing, 'x')", "text"),
        ("amount if won else None", "decimal"),
        ("None", "empty"),
        ("any", None),
        ("any + 1", None),
        ("first(any, 'x')", None),
        ("max(day, day)", "date"),
        ("customer", "ref"),
    ],
)
def test_the_type_of_what_it_gives(text: str, type_: str | None) -> None:
    assert made(text).type == type_


def test_which_fields_it_uses() -> None:
    assert made("won and filled(customer) or won").uses == {0, 7}


# --- conditions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("won", "customer", "why"),
    [(False, "x", "won is false"), (None, None, "won is empty"), (True, None, "filled(customer) is false")],
)
def test_why_a_condition_does_not_hold(won: bool | None, customer: str | None, why: str) -> None:
    asked = condition("won and filled(customer)", {"won": "bool", "customer": "ref"})
    assert not asked.holds([won, customer]) and asked.why_not([won, customer]) == why
    assert asked.holds([True, "x"])


def test_a_condition_is_true_or_false() -> None:
    assert condition("won or quantity > 3", TYPES).why_not([False, *[None] * 10]) == "won or quantity > 3 is false"
    with pytest.raises(ExpressionError, match="amount is a number, which is neither true nor false"):
        condition("amount", TYPES)
    with pytest.raises(ExpressionError, match="neither true nor false"):
        condition("any", TYPES).holds(ROW)
    assert not condition("None", TYPES).holds(ROW)


def test_two_that_are_written_alike_are_equal() -> None:
    assert condition("won", TYPES) == condition(" won ", TYPES) != condition("not won", TYPES)


def test_equal_values_give_equal_results() -> None:
    """Two systems may store one number in two ways: 12.5 and 12.50."""
    types: dict[str, str | None] = {"x": "decimal"}
    for text in ("text(x)", "join('-', x)", "x * 2", "round(x, 1)", "x in (12.5, 3)", "abs(x)", "decimal(text(x))"):
        asked = expression(text, types)
        assert asked([Decimal("12.5")]) == asked([Decimal("12.50")])


def test_every_function_is_in_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "expressions.md").read_text(encoding="utf-8")
    for name, function in FUNCTIONS.items():
        line = next((line for line in page.splitlines() if line.startswith(f"| `{name}(")), "")
        assert function.says in line, name
