"""The commands: one module each, under the command's own name. `agent/cli.py` says how they are made."""
