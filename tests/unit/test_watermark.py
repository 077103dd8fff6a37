"""The rules of watermark capture, on a table in memory: nothing is missed, little is handed out twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters import watermark
from adapters.watermark import Mark, Places, Position
from config.records import Raw

SECOND = 1_000_000


class Rows:
    """A table of (stamp in microseconds, key)."""

    def __init__(self, *marks: tuple[int, str]) -> None:
        self.marks = [Mark(at, key) for at, key in marks]

    def add(self, at: int, key: str) -> None:
        self.marks.append(Mark(at, key))

    def newest(self) -> Mark | None:
        return max(self.marks, default=None)  # type: ignore[type-var]

    def after(self, mark: Mark | None, limit: int) -> list[Mark]:
        return sorted(m for m in self.marks if mark is None or m > mark)[:limit]  # type: ignore[operator, type-var]

    def between(self, low: Raw, mark: Mark) -> list[Mark]:
        return sorted(m for m in self.marks if m.at >= low and m <= mark)  # type: ignore[operator, type-var]

    def earlier(self, at: Raw, by: int) -> Raw:
        assert isinstance(at, int)
        return at - by


def keys(page: watermark.Page) -> list[str]:
    return [mark.key for mark in page.marks]


def test_what_stands_there_at_the_start_is_not_new() -> None:
    rows = Rows((1, "a"), (2, "b"))
    page = watermark.following(rows, watermark.start(rows, 10, SECOND), 10, 11, SECOND)
    assert keys(page) == []


def test_ties_are_handed_out_across_pages_once() -> None:
    rows = Rows((5, "z"))
    position = watermark.start(rows, 0, SECOND)
    for n in range(7):
        rows.add(100, f"k{n}")
    found: list[str] = []
    more = True
    while more:
        page = watermark.following(rows, position, 3, 200, SECOND)
        found, position, more = found + keys(page), page.position, page.more
    assert found == [f"k{n}" for n in range(7)]
    assert keys(watermark.following(rows, position, 3, 201, SECOND)) == []


def test_a_row_that_commits_late_is_found_within_the_overlap() -> None:
    rows = Rows((1 * SECOND, "a"))
    position = watermark.start(rows, 1 * SECOND, SECOND)
    rows.add(10 * SECOND, "b")
    page = watermark.following(rows, position, 10, 10 * SECOND, SECOND)
    assert keys(page) == ["b"]
    rows.add(10 * SECOND - 5, "late")
    page = watermark.following(rows, page.position, 10, 10 * SECOND + 1, SECOND)
    assert keys(page) == ["late"]
    page = watermark.following(rows, page.position, 10, 20 * SECOND, SECOND)
    assert keys(page) == []
    assert page.position.low is None and page.position.seen == b""


def test_an_edit_of_a_row_behind_the_watermark_is_new() -> None:
    rows = Rows((10, "a"), (20, "b"))
    position = watermark.start(rows, 20, SECOND)
    rows.marks[0] = Mark(20, "a")  # the same stamp as the newest, a smaller key
    assert keys(watermark.following(rows, position, 10, 21, SECOND)) == ["a"]


def test_an_empty_table_starts_from_the_beginning() -> None:
    rows = Rows()
    position = watermark.start(rows, 0, SECOND)
    assert keys(watermark.following(rows, position, 10, 1, SECOND)) == []
    rows.add(3, "a")
    assert keys(watermark.following(rows, position, 10, 1, SECOND)) == ["a"]


def test_a_position_survives_its_bytes() -> None:
    places = Places(b"log", {"customer": Position(Mark("2026-11-24 10:00:00", "7"), 1.5, 3, b"12345678")})
    assert watermark.unpack(watermark.pack(places)) == places
    assert watermark.unpack(None) == Places()


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=60), st.integers(1, 4))
def test_every_row_is_handed_out_whatever_the_order_of_commits(events: list[tuple[int, int]], limit: int) -> None:
    """Each event commits at time n with a stamp up to 9 units old; the overlap is 10 units."""
    rows = Rows()
    position = watermark.start(rows, 0, 10)
    found: list[str] = []
    for n, (_, age) in enumerate(events):
        now = sum(p for p, _ in events[: n + 1]) + 100
        rows.add(now - age, f"k{n}")
        if n % 3 == 0:
            page = watermark.following(rows, position, limit, now, 10)
            found, position = found + keys(page), page.position
    more, now = True, sum(p for p, _ in events) + 100
    while more:
        page = watermark.following(rows, position, limit, now, 10)
        found, position, more = found + keys(page), page.position, page.more
    assert set(found) == {f"k{n}" for n in range(len(events))}
