"""Values come out of the state as they went in: type, exponent, instant."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state import codec
from state.ports import Frozen, Replaced

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUE = st.one_of(
    TEXT,
    st.integers(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.dates(),
    st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(fold=0)),
    st.binary(),
    st.none(),
)
RAW = st.one_of(TEXT, st.binary(), st.integers(), st.floats(allow_nan=False), st.none())


def exact(value: Any) -> tuple[str, str]:
    """Tells apart what == does not: 1, True and Decimal(1); 1.5 and 1.50; 0.0 and -0.0."""
    return type(value).__name__, repr(value)


@given(st.lists(VALUE))
def test_a_row_of_values_comes_back_exactly(values: list[Any]) -> None:
    assert list(map(exact, codec.unpack_row(codec.pack_row(values)))) == list(map(exact, values))


@given(st.lists(RAW))
def test_a_row_of_raws_comes_back_exactly(raws: list[Any]) -> None:
    assert list(map(exact, codec.unpack_row(codec.pack_row(raws)))) == list(map(exact, raws))


@given(VALUE)
def test_a_single_value_comes_back_exactly(value: Any) -> None:
    assert exact(codec.unpack_value(codec.pack_value(value))) == exact(value)


@given(st.lists(st.tuples(VALUE, st.integers(-1, 2**53)), max_size=300))
def test_values_and_stamps_come_back_together(pairs: list[tuple[Any, int]]) -> None:
    values, stamps = tuple(v for v, _ in pairs), tuple(s for _, s in pairs)
    unpacked, moments = codec.unpack_pair(codec.pack_pair(values, stamps))
    assert (list(map(exact, unpacked)), moments) == (list(map(exact, values)), stamps)


def test_more_than_256_distinct_stamps_and_rules() -> None:
    many = tuple(range(1000))
    assert codec.unpack_pair(codec.pack_pair(many, many)) == (many, many)
    names = tuple(map(str, many))
    assert codec.unpack_reasons(codec.pack_reasons(names, names)) == (names, names)


def test_origins_and_rules_stay_with_their_fields() -> None:
    origins, rules = ("crm", "erp", "", "crm"), ("latest", "latest", "", "owner crm")
    assert codec.unpack_reasons(codec.pack_reasons(origins, rules)) == (origins, rules)


def test_a_time_of_another_zone_is_kept_as_its_instant() -> None:
    there = datetime(2026, 11, 24, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    back = codec.unpack_value(codec.pack_value(there))
    assert exact(back) == exact(there.astimezone(UTC))


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        codec.pack_row([datetime(2026, 1, 1)])


def test_what_looks_alike_stays_apart() -> None:
    row = (1, True, Decimal(1), Decimal("1.0"), "1", b"1", date(2026, 1, 1), "2026-01-01", 2**70, -(2**64), None, "")
    assert list(map(exact, codec.unpack_row(codec.pack_row(row)))) == list(map(exact, row))


def test_frozen_fields_and_replaced_values() -> None:
    frozen = {
        "price": Frozen(
            {"crm": ("1.50", "EUR"), "erp": (None, 2**65)},
            {"crm": (Decimal("1.50"), date(2026, 1, 2)), "erp": (None, 2**65)},
            {"crm": 7},
            "c-1",
            "erp",
        )
    }
    assert codec.unpack_frozen(codec.pack_frozen(frozen)) == frozen
    stale = {("crm", "name"): [Replaced("A", 5), Replaced(b"\x00", 6, True)], ("erp", "name"): [Replaced(None, 7)]}
    assert codec.unpack_stale(codec.pack_stale(stale)) == stale
    assert codec.pack_frozen({}) is None and codec.pack_stale({("crm", "name"): []}) is None
