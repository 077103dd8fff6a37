"""Whatever is written, an expression is refused by `ExpressionError` or works, in bounded time (that of the test) and
room."""

from __future__ import annotations

import ast
import tracemalloc
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from config.expressions import ExpressionError, expression
from config.expressions.functions import FUNCTIONS
from config.expressions.syntax import ALLOWED, LONGEST
from config.records import Value

FIELDS: dict[str, str | None] = {"a": None, "b": None, "n": "int", "d": "decimal", "t": "text", "day": "date"}

ATTACKS = [
    "__import__('os').system('id')",
    "().__class__.__bases__[0].__subclasses__()",
    "t.__class__",
    "t.format(a)",
    "'{0.__class__}'.format(a)",
    "'%s' % a",
    "f'{a!r}'",
    "f'{a.__class__}'",
    "(lambda: 1)()",
    "(lambda f: f(f))(lambda f: f(f))",
    "[x for x in (1, 2)]",
    "{x for x in (1, 2)}",
    "{x: 1 for x in (1, 2)}",
    "(x for x in (1, 2))",
    "(a := 5)",
    "*a",
    "upper(*a)",
    "upper(**a)",
    "upper(value=t)",
    "upper(t)(t)",
    "upper.__globals__",
    "FUNCTIONS['upper']",
    "a[0]",
    "t[::-1]",
    "{'a': 1}",
    "{1, 2}",
    "await a",
    "(yield a)",
    "eval('1')",
    "exec('1')",
    "open('/etc/passwd')",
    "globals()",
    "getattr(t, 'upper')",
    "type(t)",
    "print(t)",
    "input()",
    "__builtins__",
    "__name__",
    "self",
    "row",
    "_",
    "9**9**9",
    "2**1000000",
    "1 << 1000000",
    "'a' * 1000000000",
    "1000000000 * 'a'",
    "t * n",
    "('a',) * 1000000000",
    "n % 2",
    "n // 2",
    "~n",
    "n & 1",
    "n | 1",
    "a @ b",
    "1e308",
    "1e999999999",
    "0x7fffffffffffffff",
    "0b1",
    "1j",
    "b'x'",
    "...",
    "9" * 5000,
    "9" * 1900,
    "import os",
    "a; b",
    "a\nimport os",
    "a = 1",
    "del a",
    "lambda: a",
    "a if b",
    "a, b",
    "'\\ud800'",
    "'\\x00' + '\\N{NO SUCH NAME}'",
    "'\\d'",
    "a\x00b",
    "\ud800",
    "a #\n and b",
    "'a' 'b'",
    "(" * 250 + "a" + ")" * 250,
    "(" * 900 + "a" + ")" * 900,
    "-" * 1900 + "1",
    "not " * 450 + "a",
    "+".join(["a"] * 950),
    f"a in ({','.join('1' * 450)})",
    "a<" * 900 + "a",
    "upper(" * 300 + "t" + ")" * 300,
    "1 if a else " * 150 + "1",
    "[" * 500,
    "a" * (LONGEST + 1),
    "a" * 10_000_000,
]


@pytest.mark.parametrize("text", ATTACKS, ids=lambda text: repr(text)[:30])
def test_an_attack_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        expression(text, FIELDS)
    assert len(str(caught.value)) < 600


def test_nothing_of_python_can_be_called() -> None:
    """The whole of what is allowed: no attribute, no subscript, no power, and no name but fields and functions."""
    names = {node.__name__ for node in ALLOWED}
    assert not names & {"Attribute", "Subscript", "Lambda", "Pow", "Mod", "JoinedStr", "ListComp", "Starred", "Dict"}
    everything = {node.__name__ for node in vars(ast).values() if isinstance(node, type) and issubclass(node, ast.AST)}
    assert names < everything and len(names) == 30


@pytest.mark.parametrize(
    "text",
    [
        "replace(" * 8 + "t" + ", 'a', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')" * 8,
        "join(t, t, t, t, t, t, t, t)",
        "join(join(t, t, t), join(t, t, t), join(t, t, t), join(t, t, t))",
        "t + t + t + t + t + t + t + t + t + t",
        "d * d * d * d * d * d * d * d",
        "n * n * n * n * n * n * n * n * n * n * n * n * n * n * n * n * n * n * n * n * n * n * n * n",
        "decimal(t)",
        "int(t)",
        "text(d)",
        "int(d)",
        "round(d, 30)",
        "a - b",
        "a < b",
        "text(a)",
    ],
)
@pytest.mark.parametrize(
    "huge",
    [
        "a" * 900_000,
        "9" * 900_000,
        Decimal("1E+999999"),
        Decimal("1E-999999"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("9" * 10_000),
        10**10_000,
        -(2**63),
    ],
    ids=lambda huge: f"{type(huge).__name__} {str(huge)[:12] if not isinstance(huge, int) else huge.bit_length()}",
)
def test_large_values_take_little_room(text: str, huge: Any) -> None:
    asked = expression(text, FIELDS)
    row = [huge, huge, huge, huge, huge if isinstance(huge, str) else "aaa", None]
    tracemalloc.start()
    try:
        assert asked(row) is not ...
    except ExpressionError:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000


# --- by chance --------------------------------------------------------------------------------------------------------

PIECES = [
    *FIELDS, *FUNCTIONS, "and", "or", "not", "in", "is", "if", "else", "None", "True", "lambda", "for", "(", ")", "[",
    "]", ",", ".", "+", "-", "*", "**", "/", "//", "%", "==", "!=", "<", ">=", "=", ":=", ":", "'", '"', "'x'", "''",
    "1", "0.5", "1e9", "1j", "f'{a}'", "#", "\\", "\n", "{", "}", "@", "&", "__class__", "await", "ä", "\x00",
]  # fmt: skip
soup = st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join)
leaf = st.sampled_from([*FIELDS, "None", "True", "1", "0.5", "'x'", "''", "'2026-01-31'"])


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "/", "==", "!=", "<", "<=", ">", ">=", "and", "or"])
    calls = st.sampled_from(list(FUNCTIONS))
    return st.one_of(
        st.tuples(inner, operators, inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} else {p[2]})"),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} in ({p[1]}, {p[2]}))"),
        inner.map(lambda p: f"(not {p})"),
        inner.map(lambda p: f"(-{p})"),
        st.tuples(calls, st.lists(inner, max_size=3)).map(lambda p: f"{p[0]}({', '.join(p[1])})"),
    )


sensible = st.recursive(leaf, grown, max_leaves=8)
value = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.decimals(),
    st.text(max_size=20),
    st.dates(),
    st.datetimes(timezones=st.just(UTC)),
    st.binary(max_size=4),
)
CANONICAL = (type(None), bool, int, Decimal, str, date, datetime, bytes)


def tried(text: str, row: list[Value]) -> None:
    try:
        asked = expression(text, FIELDS)
    except ExpressionError:
        return
    try:
        found = asked(row)
        asked(row)
    except ExpressionError:
        return
    assert isinstance(found, CANONICAL) and found != ""


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(soup, st.lists(value, min_size=6, max_size=6))
def test_a_soup_of_pieces(text: str, row: list[Value]) -> None:
    tried(text, row)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.text(max_size=60), st.lists(value, min_size=6, max_size=6))
def test_any_text(text: str, row: list[Value]) -> None:
    tried(text, row)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(sensible, st.lists(value, min_size=6, max_size=6))
@example("day < day", [None, None, None, None, None, datetime(1, 1, 1, tzinfo=UTC)])
def test_what_may_be_meant_with_any_values(text: str, row: list[Value]) -> None:
    tried(text, row)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=4), st.integers(-(10**12), 10**12))
def test_arithmetic_is_that_of_exact_numbers(d: Decimal, n: int) -> None:
    asked = expression("d * n - d + 0.25", FIELDS)
    found = asked([None, None, n, d, None, None])
    assert isinstance(found, Decimal) and Fraction(found) == Fraction(d) * n - Fraction(d) + Fraction(1, 4)
