"""Capture from PostgreSQL's own log: its logical replication, read by the driver's low-level interface."""
