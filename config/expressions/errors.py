"""What is wrong with an expression."""

from __future__ import annotations


class ExpressionError(ValueError):
    """An expression cannot be read, or cannot be worked out for a record.

    `column` is that of the text, the first is 1; None while a record is looked at.
    """

    def __init__(self, message: str, column: int | None = None) -> None:
        message = message if message.endswith((".", "?")) else f"{message}."
        super().__init__(message if column is None else f"column {column}: {message}")
        self.column = column
