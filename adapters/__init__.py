"""One folder per database: capture, read, find, apply."""
