"""From a tree to what can be worked out: every part gets its type, and a function of the record's values.

Python's own evaluation has no part in it: a part calls its parts, and there is nothing else that it could call. Types
are checked here as far as they are known; what is not known is checked when a record is looked at.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from config.expressions import values as v
from config.expressions.errors import ExpressionError
from config.expressions.functions import FUNCTIONS, Function
from config.expressions.syntax import Text
from config.records import Value
from config.words import suggestion

Run = Callable[[Sequence[Value]], Value]
EMPTY = "empty"  # the type of None
NUMBERS = ("int", "decimal")
SHOWN = {
    "int": "a number", "decimal": "a number", "bool": "true or false", "text": "text", "date": "a date",
    "datetime": "a date with time", "bytes": "bytes", "ref": "a reference", EMPTY: "empty",
}  # fmt: skip
TAKES: dict[str, tuple[str, ...]] = {
    "text": ("text",),
    "int": ("int",),
    "number": NUMBERS,
    "moment": ("date", "datetime"),
    "plain": ("text", "int", "decimal", "bool", "date", "datetime"),
    "size": ("text", "int", "decimal", "date", "datetime"),
    "any": tuple(SHOWN),
    "same": tuple(SHOWN),
}
ARITHMETIC: dict[type[ast.operator], tuple[str, Callable[[Value, Value], Value]]] = {
    ast.Add: ("+", v.add),
    ast.Sub: ("-", v.subtract),
    ast.Mult: ("*", v.multiply),
    ast.Div: ("/", v.divide),
}
COMPARED: dict[type[ast.cmpop], Callable[[Value, Value], bool]] = {
    ast.Eq: v.equal,
    ast.NotEq: v.unequal,
    ast.Is: v.equal,
    ast.IsNot: v.unequal,
    ast.Lt: v.below,
    ast.LtE: v.at_most,
    ast.Gt: v.above,
    ast.GtE: v.at_least,
}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an expression. `type`: one of `Field.type`; None: not known before a record is looked at."""

    type: str | None
    run: Run


class Builder:
    """Builds one expression over these fields, whose values come in this order."""

    def __init__(self, text: Text, fields: Mapping[str, str | None]) -> None:
        self.text, self.fields = text, fields
        self.indexes = {name: i for i, name in enumerate(fields)}
        self.uses: set[int] = set()

    def build(self, node: ast.expr) -> Part:
        match node:
            case ast.Constant():
                return self.constant(node)
            case ast.Name():
                return self.field(node)
            case ast.BoolOp():
                return self.logic(node)
            case ast.UnaryOp():
                return self.sign(node)
            case ast.BinOp():
                return self.arithmetic(node)
            case ast.Compare():
                return self.comparison(node)
            case ast.IfExp():
                return self.choice(node)
            case ast.Call():
                return self.call(node)
        raise self.text.error(node, "a list stands behind `in` only")

    # --- the ends -------------------------------------------------------------------------------------------------

    def constant(self, node: ast.Constant) -> Part:
        value = node.value
        if value is None:
            return Part(EMPTY, lambda row: None)
        if isinstance(value, float):
            begin, end = self.text.span(node)
            exact = Decimal(self.text.text[begin:end].replace("_", ""))
            return Part("decimal", lambda row: exact)
        assert isinstance(value, bool | int | str)  # the syntax has no others
        type_ = "bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "text"
        return Part(type_, lambda row: value)

    def field(self, node: ast.Name) -> Part:
        i = self.indexes.get(node.id)
        if i is None:
            known = [*self.fields, "True", "False", "None"]
            also = f" {node.id}() is a function." if node.id in FUNCTIONS else ""
            said = f'no field is called "{node.id}".{also} {suggestion(node.id, known)}'
            raise self.text.error(node, said)
        self.uses.add(i)
        return Part(self.fields[node.id], lambda row: row[i])

    # --- true or false --------------------------------------------------------------------------------------------

    def condition(self, node: ast.expr) -> Part:
        """A part that is true or false; empty counts as false."""
        part = self.build(node)
        if part.type in ("bool", EMPTY):
            return part
        self.must(node, part, (), "is neither true nor false")
        run = part.run

        def checked(row: Sequence[Value]) -> Value:
            value = run(row)
            if value is not None and not isinstance(value, bool):
                raise ExpressionError(f"{v.kind(value)} is neither true nor false")
            return value

        return Part("bool", checked)

    def logic(self, node: ast.BoolOp) -> Part:
        runs = tuple(self.condition(part).run for part in node.values)
        if isinstance(node.op, ast.And):
            return Part("bool", lambda row: all(run(row) for run in runs))
        return Part("bool", lambda row: any(run(row) for run in runs))

    def sign(self, node: ast.UnaryOp) -> Part:
        if isinstance(node.op, ast.Not):
            run = self.condition(node.operand).run
            return Part("bool", lambda row: not run(row))
        part = self.build(node.operand)
        self.must(node.operand, part, NUMBERS, "is no number")
        value, act = part.run, v.negative if isinstance(node.op, ast.USub) else v.positive
        return Part(part.type, lambda row: act(value(row)))

    def choice(self, node: ast.IfExp) -> Part:
        test, first, other = self.condition(node.test).run, self.build(node.body), self.build(node.orelse)
        type_ = self.common(node, [first, other])
        yes, no = first.run, other.run
        return Part(type_, lambda row: yes(row) if test(row) else no(row))

    def comparison(self, node: ast.Compare) -> Part:
        steps: list[Run] = []
        left, before = self.build(node.left), node.left
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, ast.In | ast.NotIn):
                steps.append(self.membership(left, before, isinstance(op, ast.In), right_node))
                if len(node.ops) > 1:
                    raise self.text.error(right_node, "`in` stands alone; put it in brackets")
                break
            right = self.build(right_node)
            self.comparable(op, (before, left), (right_node, right))
            steps.append(_compared(COMPARED[type(op)], left.run, right.run))
            left, before = right, right_node
        if len(steps) == 1:
            return Part("bool", steps[0])
        return Part("bool", lambda row: all(step(row) for step in steps))

    def comparable(self, op: ast.cmpop, *sides: tuple[ast.expr, Part]) -> None:
        types = [part.type for _, part in sides]
        if isinstance(op, ast.Is | ast.IsNot) and EMPTY not in types:
            raise self.text.error(sides[0][0], "`is` asks for None only; two values are compared with ==")
        if isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
            for node, part in sides:
                self.must(node, part, TAKES["size"], "has no order")
        self.common(sides[1][0], [part for _, part in sides], "cannot be compared with")

    def membership(self, left: Part, node: ast.expr, wanted: bool, right: ast.expr) -> Run:
        if not isinstance(right, ast.Tuple | ast.List):
            raise self.text.error(right, "behind `in` stands a list like ('a', 'b'); contains() looks into a text")
        parts = [self.build(item) for item in right.elts]
        for item, part in zip(right.elts, parts, strict=True):
            self.common(item, [left, part], "cannot be compared with")
        value, items = left.run, tuple(part.run for part in parts)
        return lambda row: any(v.equal(found, item(row)) for found in (value(row),) for item in items) is wanted

    # --- numbers, texts and functions -----------------------------------------------------------------------------

    def arithmetic(self, node: ast.BinOp) -> Part:
        sign, act = ARITHMETIC[type(node.op)]
        left, right = self.build(node.left), self.build(node.right)
        a, b = left.run, right.run
        types = {left.type, right.type} - {EMPTY}
        if sign == "+" and "text" in types:
            for side, part in ((node.left, left), (node.right, right)):
                self.must(side, part, ("text",), "is no text; text() makes one of it")
            return Part("text", lambda row: act(a(row), b(row)))
        for side, part in ((node.left, left), (node.right, right)):
            self.must(side, part, NUMBERS, "is no number")
        known = None if None in types else "int" if types == {"int"} and sign != "/" else "decimal"
        return Part(known, lambda row: act(a(row), b(row)))

    def call(self, node: ast.Call) -> Part:
        assert isinstance(node.func, ast.Name)  # the syntax has no others
        name = node.func.id
        function = FUNCTIONS.get(name)
        if function is None:
            said = f'no function is called "{name}". {suggestion(name, FUNCTIONS)}'
            raise self.text.error(node, said)
        if not function.accepts(len(node.args)):
            said = f"{name}() takes {function.expected()}, not {len(node.args)}"
            raise self.text.error(node, said)
        parts = [self.build(arg) for arg in node.args]
        for i, (arg, part) in enumerate(zip(node.args, parts, strict=True)):
            word = function.taken(i)
            self.must(arg, part, TAKES[word], f"is not what {name}() takes")
        type_ = self.given(node, function, parts)
        return Part(type_, _called(function, tuple(part.run for part in parts)))

    def given(self, node: ast.Call, function: Function, parts: list[Part]) -> str | None:
        if function.gives == "same":
            return self.common(node, parts)
        if function.gives == "number":
            return parts[0].type if parts[0].type in NUMBERS else None
        return function.gives

    # --- types ----------------------------------------------------------------------------------------------------

    def must(self, node: ast.expr, part: Part, types: Sequence[str], why: str) -> None:
        """What is not of these types is refused."""
        if part.type is not None and part.type not in (EMPTY, *types):
            raise self.text.error(node, f"{self.text.source(node)} is {SHOWN[part.type]}, which {why}")

    def common(self, node: ast.expr, parts: Sequence[Part], cannot: str = "does not go together with") -> str | None:
        """The one type of all; None where it is not known."""
        types = list(dict.fromkeys(part.type for part in parts if part.type != EMPTY))
        if not types:
            return EMPTY
        named = [t for t in types if t is not None]
        if len({SHOWN[t] for t in named}) > 1:
            raise self.text.error(node, f"{SHOWN[named[0]]} {cannot} {SHOWN[named[1]]}")
        if None in types:
            return None
        return named[0] if len(named) == 1 else "decimal"


def _compared(act: Callable[[Value, Value], bool], left: Run, right: Run) -> Run:
    return lambda row: act(left(row), right(row))


def _called(function: Function, runs: tuple[Run, ...]) -> Run:
    act = function.run
    if function.sees:
        return lambda row: v.plain(act(*[run(row) for run in runs]))

    def called(row: Sequence[Value]) -> Value:
        found = [run(row) for run in runs]
        return None if any(value is None for value in found) else v.plain(act(*found))

    return called
