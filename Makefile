# Sightline. Everything lives in one virtual environment, .venv; `make` lists what there is.
# The first `make demo` or `make test` downloads PyTorch (some GB); after that both start at once and work offline.

PYTHON ?= python3
JOBS ?= 2
PYTEST_ARGS ?=
DEMO_ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet
SAY := @printf '\033[1m==> %s\033[0m\n'

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint format types docs bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.core ## set up the core package and explain decisions of a shipped network, offline
	$(SAY) "sightline demo $(DEMO_ARGS)"
	@$(BIN)/sightline demo $(DEMO_ARGS)

test: export OMP_NUM_THREADS ?= 1
test: .venv/.dev ## set up everything for development and run the tests
	$(SAY) "pytest on $(JOBS) processes, $(OMP_NUM_THREADS) thread each"
	@$(BIN)/python -m pytest -n $(JOBS) $(PYTEST_ARGS)

lint: .venv/.dev ## rules of style, formatting and imports
	$(SAY) "ruff check, ruff format --check, lint-imports"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

format: .venv/.dev ## put the code into the house format
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

types: .venv/.dev ## strict type checks
	$(SAY) "mypy"
	@$(BIN)/mypy

docs: .venv/.dev ## build the documentation; a warning is an error
	$(SAY) "sphinx-build to docs/_build"
	@$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build
	@echo "open docs/_build/index.html"

bench: .venv/.dev ## time the explainers against a forward pass and other libraries (takes minutes)
	@for script in benchmarks/[a-z]*.py; do \
		printf '\033[1m==> %s\033[0m\n' "$$script"; $(BIN)/python "$$script" || exit 1; done

clean: ## remove the environment, caches and everything that was built
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build dist docs/_build docs/generated
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.made:
	$(SAY) "creating .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sightline needs Python 3.11 or newer; say which: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.core: pyproject.toml | .venv/.made
	$(SAY) "installing sightline into .venv (the first time this downloads PyTorch and takes minutes)"
	@$(PIP) install --editable .
	@touch $@

.venv/.dev: pyproject.toml | .venv/.made
	$(SAY) "installing sightline[dev] into .venv (the first time this downloads PyTorch and takes minutes)"
	@$(PIP) install --editable '.[dev]'
	@touch .venv/.core $@
