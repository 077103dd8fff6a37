"""Decides and drives: the round, the merge, identity, the commands."""

__version__ = "0.1.0"
