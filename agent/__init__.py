"""Decides and drives: the round, the merge, identity, the commands."""
