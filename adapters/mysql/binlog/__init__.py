"""MariaDB's binary log, read by a connection of our own: capture without anything made in the database."""
