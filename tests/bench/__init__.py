"""Measurements, not tests: `make bench`. Every figure is a ratio to something measured in the same run."""
