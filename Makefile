# Two commands do all set-up: `make run` and `make test`. Each makes .venv and installs into it at the first call only.
PYTHON ?= python3
BIN := .venv/bin

# Tests are compiled anew by each process that can keep nothing of it: half of what it takes to find them.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run check test test-servers test-long bench clean

run: .venv/.run
	@$(BIN)/claude-syncctl run-default

check: .venv/.dev
	$(BIN)/ruff check daemon tests
	$(BIN)/ruff format --check daemon tests
	$(BIN)/mypy
	$(BIN)/lint-imports

# Three on two cores: they wait for disks, networks and daemons for a third of the time.
test: .venv/.dev
	$(BIN)/pytest -n 3 --dist worksteal -m "not servers and not long"

test-servers: .venv/.dev
	tests/servers/install
	$(BIN)/pytest -n 2 -m servers

test-long: .venv/.dev
	$(BIN)/pytest -n 2 --dist worksteal -m "long and not servers"

bench: .venv/.dev
	$(BIN)/python tests/bench/run.py

# pip is called from outside: a Python without ensurepip can still make the environment.
.venv/bin/python:
	$(PYTHON) -m venv --without-pip .venv

.venv/.run: pyproject.toml | .venv/bin/python
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check -e .
	@touch $@

# The SDK is built from source: its wheel carries 380 MB of Claude Code, which no test runs.
.venv/.dev: pyproject.toml | .venv/bin/python
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --no-binary claude-agent-sdk -e '.[dev]'
	@touch $@ .venv/.run

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
