"""The expression language: Python's syntax, as much of it as can do no harm, over the fields of a record.

    syntax.py     the text to a tree of allowed parts, all of it bounded
    building.py   the tree to types, and to functions that call each other
    functions.py  what can be called by a name
    values.py     arithmetic and comparisons, exact, where empty is empty

`expression` is all that the rest of Accord calls. docs/expressions.md is the page for those who write them.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from config.expressions import values
from config.expressions.building import EMPTY, SHOWN, Builder, Run
from config.expressions.errors import ExpressionError
from config.expressions.syntax import parse
from config.records import Value

__all__ = ["Expression", "ExpressionError", "condition", "expression"]


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression, ready for use. Two are equal if they are written alike."""

    text: str
    type: str | None = field(compare=False)  # of what it gives, as in `Field.type`; None: not known
    uses: frozenset[int] = field(compare=False)  # indexes of the fields in it
    run: Run = field(compare=False, repr=False)
    parts: tuple[tuple[str, Run], ...] = field(compare=False, repr=False)  # what `and` joins at the top

    def __call__(self, row: Sequence[Value]) -> Value:
        """What it gives for these values of the fields. Raises `ExpressionError`."""
        return _worked_out(self.run, row)

    def holds(self, row: Sequence[Value]) -> bool:
        """Of a condition: is it true? Raises `ExpressionError`."""
        return self(row) is True

    def why_not(self, row: Sequence[Value]) -> str:
        """Of a condition that does not hold: the part of it that does not, `won is false`. Raises `ExpressionError`."""
        for text, run in self.parts:
            found = _worked_out(run, row)
            if found is not True:
                return f"{text} is {'empty' if found is None else 'false'}"
        return f"{self.text} is true"


def _worked_out(run: Run, row: Sequence[Value]) -> Value:
    try:
        return values.plain(run(row))
    except ExpressionError:
        raise
    except (ArithmeticError, ValueError, TypeError, AttributeError) as error:
        said = "a number becomes too long to be exact" if isinstance(error, ArithmeticError) else str(error)
        raise ExpressionError(said or type(error).__name__) from error


def expression(text: str, fields: Mapping[str, str | None]) -> Expression:
    """An expression over these fields, whose values come in this order.

    `fields`: name -> type as in `Field.type`; None where it is not known yet. Raises `ExpressionError`.
    """
    return _built(text, fields, wants_condition=False)


def condition(text: str, fields: Mapping[str, str | None]) -> Expression:
    """An expression that is true or false. Raises `ExpressionError`."""
    return _built(text, fields, wants_condition=True)


def _built(text: str, fields: Mapping[str, str | None], wants_condition: bool) -> Expression:
    written, root = parse(text)
    builder = Builder(written, fields)
    part = builder.condition(root) if wants_condition else builder.build(root)
    joined = root.values if isinstance(root, ast.BoolOp) and isinstance(root.op, ast.And) else [root]
    parts = tuple((written.source(node), builder.condition(node).run) for node in joined) if wants_condition else ()
    assert part.type in (None, *SHOWN, EMPTY)
    return Expression(" ".join(text.split()), part.type, frozenset(builder.uses), part.run, parts)
