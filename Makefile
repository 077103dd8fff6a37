# make demo    two databases that never met, kept in agreement before your eyes
# make test    everything, on real servers (installs PostgreSQL and MariaDB where they are missing)
# make quick   what needs no server, in under two minutes
# make lint    style, types, layers
# make bench   the measurements; not part of `make test`

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# One stamp per set of packages: pip runs again only when pyproject.toml has changed.
USE := $(VENV)/.installed
DEV := $(VENV)/.installed-dev

.PHONY: demo test quick lint bench servers
.DEFAULT_GOAL := quick

demo: $(USE)
	$(BIN)/accord demo

test: $(DEV) servers lint
	$(BIN)/pytest -n 2 --dist loadgroup

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
