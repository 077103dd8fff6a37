"""From text to a tree: Python's own parser, and of what it gives only what the language has.

Everything is bounded here: the length of the text, the number of its parts and how deep they nest. So whatever comes
later needs no limits of its own but those on values.
"""

from __future__ import annotations

import ast
import io
import re
import token
import tokenize
import warnings

from config.expressions.errors import ExpressionError

LONGEST = 2000  # characters
MOST = 400  # parts
DEEPEST = 40  # levels
DIGITS = 40  # of a number that is written out

ALLOWED = (
    ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.IfExp, ast.Compare, ast.Call, ast.Constant, ast.Name, ast.Tuple, ast.List,
    ast.And, ast.Or, ast.Not, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.USub, ast.UAdd, ast.Load,
    ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Is, ast.IsNot, ast.In, ast.NotIn,
)  # fmt: skip

REFUSED: dict[type[ast.AST], str] = {
    ast.Attribute: "there are no attributes; a field is called by its name alone",
    ast.Subscript: "there is nothing in square brackets behind a value; left() and right() cut a text",
    ast.JoinedStr: "there are no f-strings; join() puts texts together",
    ast.Lambda: "there is no lambda",
    ast.NamedExpr: "nothing can be assigned",
    ast.Starred: "there is no * before a value",
    ast.Pow: "there is no power",
    ast.FloorDiv: "there is no //; round() makes whole numbers",
    ast.Mod: "there is no %",
    ast.MatMult: "there is no @",
    ast.BitAnd: "there is no &; write and",
    ast.BitOr: "there is no |; write or",
    ast.BitXor: "there is no ^",
    ast.LShift: "there is no <<",
    ast.RShift: "there is no >>",
    ast.Invert: "there is no ~; write not",
    ast.Dict: "there are no tables in an expression",
    ast.Set: "a list is written with round brackets",
    ast.ListComp: "there are no loops",
    ast.SetComp: "there are no loops",
    ast.DictComp: "there are no loops",
    ast.GeneratorExp: "there are no loops",
    ast.Await: "there is no await",
    ast.Yield: "there is no yield",
    ast.YieldFrom: "there is no yield",
}
MEANT = {"&&": "and", "||": "or", "<>": "!="}

SINGLE = re.compile(r"(?<![=!<>:])=(?!=)")  # an equals sign by itself


class Text:
    """An expression as it was written, and where in it a part stands."""

    def __init__(self, text: str) -> None:
        self.text = text
        line = "".join(" " if c in "\r\n\t\f" else c for c in text)  # several lines in the file are one expression
        self.line = line.strip(" ")
        self.shift = len(line) - len(line.lstrip(" "))

    def span(self, node: ast.expr) -> tuple[int, int]:
        """Where the part begins and ends, in characters; the parser counts bytes."""
        raw = self.line.encode()
        begin, end = raw[: node.col_offset], raw[: node.end_col_offset]
        return self.shift + len(begin.decode()), self.shift + len(end.decode())

    def source(self, node: ast.expr) -> str:
        """The part as it was written, on one line."""
        begin, end = self.span(node)
        return " ".join(self.text[begin:end].split())

    def error(self, node: ast.AST, message: str) -> ExpressionError:
        column = self.span(node)[0] + 1 if isinstance(node, ast.expr) else None
        return ExpressionError(message, column)


def parse(text: str) -> tuple[Text, ast.expr]:
    """The tree of an expression, of allowed parts only. Raises `ExpressionError`."""
    if len(text) > LONGEST:
        raise ExpressionError(f"an expression has at most {LONGEST} characters, this one has {len(text)}")
    if not text.strip():
        raise ExpressionError("the expression is empty")
    written = Text(text)
    root = _tree(written)
    _check_tokens(written)
    _check(written, root)
    return written, root


def _tree(text: Text) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an escape that means nothing is an error here
            return ast.parse(text.line, mode="eval").body
    except SyntaxError as error:
        raise _said(text, error) from None
    except (ValueError, OverflowError):  # a NUL, half of a pair of surrogates, a number of thousands of digits
        raise ExpressionError("it has a character or a number that cannot be read") from None
    except (RecursionError, MemoryError):
        raise ExpressionError("it is nested too deeply") from None


def _said(text: Text, error: SyntaxError) -> ExpressionError:
    column = text.shift + error.offset if error.offset else None
    meant = next((f"write {word} in place of {sign}" for sign, word in MEANT.items() if sign in text.line), "")
    if SINGLE.search(text.line) or "'=='" in str(error.msg):
        meant = "two values are compared with =="
    return ExpressionError(meant or f"this is no expression: {error.msg}", column)


def _check_tokens(text: Text) -> None:
    """What the parser passes over in silence: comments hide the rest, and texts side by side become one."""
    before = None
    try:
        for found in tokenize.generate_tokens(io.StringIO(text.line).readline):
            column = text.shift + found.start[1] + 1
            if found.type == tokenize.COMMENT:
                raise ExpressionError("a comment cannot stand in an expression; write it above the key", column)
            if found.type == before == token.STRING:
                raise ExpressionError("two texts stand side by side; is a comma missing?", column)
            before = found.type
    except (tokenize.TokenError, SyntaxError):
        raise ExpressionError("this is no expression") from None


def _check(text: Text, root: ast.expr) -> None:
    """Nothing but what is allowed, not too much of it, and not too deep."""
    left: list[tuple[ast.AST, ast.expr, int]] = [(root, root, 1)]  # with the expression that it is part of
    parts = 0
    while left:
        node, near, depth = left.pop()
        parts += 1
        if not isinstance(node, ALLOWED):
            said = REFUSED.get(type(node), f"there is no {type(node).__name__} in an expression")
            raise text.error(near, said)
        if parts > MOST or depth > DEEPEST:
            raise text.error(near, "the expression is too long" if parts > MOST else "it is nested too deeply")
        if isinstance(node, ast.Constant):
            _constant(text, node)
        if isinstance(node, ast.Call):
            _call(text, node)
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.expr_context) and not (isinstance(node, ast.Call) and child is node.func):
                left.append((child, child if isinstance(child, ast.expr) else near, depth + 1))


def _call(text: Text, node: ast.Call) -> None:
    if not isinstance(node.func, ast.Name):
        raise text.error(node, "only the functions of the language can be called, by their names")
    if node.keywords:
        raise text.error(node, f"{node.func.id}() takes its values in order, without names")


def _constant(text: Text, node: ast.Constant) -> None:
    value = node.value
    begin, end = text.span(node)
    written = text.text[begin:end]
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, str):
        if "\n" in written or "\r" in written:
            raise text.error(node, "a text in quotes cannot go over several lines")
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise text.error(node, "this text has half a character")
    elif isinstance(value, int | float):
        if len(written) > DIGITS:
            raise text.error(node, f"a number has at most {DIGITS} digits")
        if not all(c.isdecimal() or c in "._" for c in written):
            raise text.error(node, "a number is written with digits and a point")
    else:
        raise text.error(node, "a value is a text, a number, True, False or None")
