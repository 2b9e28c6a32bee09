# `make` or `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?= digits
STUDY_digits := digits
STUDY_mnist := mnist_mlp
STUDY_fashion_mnist := mnist_mlp
BUDGET ?= quick
ARGS ?=
# Two workers fill two cores, each with half of the files; the first to end takes tests of the other.
PYTEST := -m pytest -n 2 --dist worksteal -q
CORE_TESTS := $(addprefix tests/,neurons layers training sweeps $(patsubst %,test_%.py,surrogates encoders readouts losses metrics))
EXTRAS_TESTS := $(addprefix tests/,bridges data test_export.py test_plots.py $(patsubst %,experiments/test_%.py,checkpoints rows))
TYPED_TESTS := $(CORE_TESTS) $(addprefix tests/,streaming events test_augment.py test_initializers.py test_plots.py)

.DEFAULT_GOAL := help
.PHONY: help run test test-fast test-typed test-untyped test-heavy test-all test-lowest lint format bench bench-peers bench-examples bench-gpu compiled wheels report reproduce smoke docs wheel-check audit clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

run: $(VENV)/.ready ## train a spiking network by STBP: DATA=digits (default), mnist or fashion_mnist; ARGS="--seeds 3"
	@$(BIN)/python -m experiments run $(or $(STUDY_$(DATA)),$(error DATA must be digits, mnist or fashion_mnist, got $(DATA))) --data.name $(DATA) $(ARGS)

test: lint test-fast ## lint, types, doctests and tests: five minutes on two cores

test-fast: $(VENV)/.ready ## the same without lint and types
	$(BIN)/python $(PYTEST) -m "not heavy"

test-typed: $(VENV)/.ready ## the light tests with the arrays of all public functions checked against their annotations
	$(BIN)/python $(PYTEST) -m "not heavy" --typed $(TYPED_TESTS)

test-untyped: $(VENV)/.ready ## the light tests that test-typed leaves out
	$(BIN)/python $(PYTEST) -m "not heavy" $(addprefix --ignore=,$(TYPED_TESTS))

test-heavy: $(VENV)/.ready ## the other tests, compiled with the code generator that users get
	XLA_FLAGS= $(BIN)/python $(PYTEST) -m heavy

test-all: lint docs ## lint, types, the site, doctests and all tests, compiled with the code generator that users get
	XLA_FLAGS= $(BIN)/python $(PYTEST)

test-lowest: ## the core's tests, and those of the extras, on the oldest releases that pyproject.toml allows
	@test -d .venv-lowest || $(PYTHON) -m venv .venv-lowest
	@sed -n '/^dependencies/,/^docs/p' pyproject.toml | grep -oE '[A-Za-z0-9-]+>=[0-9.]+' | sed 's/>=/==/' > .venv-lowest/lowest.txt
	@.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -r .venv-lowest/lowest.txt pytest pytest-xdist
	.venv-lowest/bin/python $(PYTEST) -m "not heavy" $(CORE_TESTS) $(EXTRAS_TESTS)

lint: $(VENV)/.ready ## ruff and mypy
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

format: $(VENV)/.ready ## rewrite the code in ruff's format
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

bench: $(VENV)/.ready ## time stbp_jax, plain JAX and the floors
	$(BIN)/python -m experiments.benchmarks $(ARGS)

bench-peers: $(VENV)/.ready ## the same with SpikingJelly, snnTorch, Norse, Spyx and PyTorch in turn
	$(BIN)/python -m experiments.benchmarks --peers $(ARGS)

bench-examples: $(VENV)/.ready ## time the programs of docs/examples beside the same by hand
	$(BIN)/python -m experiments.benchmarks.examples $(ARGS)

bench-gpu: ## all on a CUDA device in 8 minutes: PYTHON has JAX for CUDA and PyTorch, .wheels the peers
	$(PYTHON) -m experiments.benchmarks --cuda $(ARGS)

compiled: ## compile the benchmarks for GPUs and TPUs that are not at hand, and count: PYTHON is 3.12 or later
	@test -d .venv-compiled || $(PYTHON) -m venv .venv-compiled
	@cd experiments/benchmarks/compiled && ../../../.venv-compiled/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@cd experiments/benchmarks/compiled && ../../../.venv-compiled/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r plugins.txt
	JAX_PLATFORMS=cpu TPU_SKIP_MDS_QUERY=1 .venv-compiled/bin/python -m experiments.benchmarks.compiled $(ARGS)

wheels: $(VENV)/.ready ## fetch the peers' wheels into .wheels, for bench-gpu without a network
	$(BIN)/python -m experiments.benchmarks.environment

report: $(VENV)/.ready ## render the studies' pages and pictures from their rows
	$(BIN)/python -m experiments report

reproduce: $(VENV)/.ready ## run the missing runs of the studies, then report: BUDGET=quick (default), long or full; ARGS="mnist_mlp --minutes 30"
	@$(BIN)/python -m experiments reproduce --budget $(BUDGET) $(ARGS); code=$$?; $(BIN)/python -m experiments report && exit $$code

smoke: $(VENV)/.ready ## run every variant of every study for seconds, recording nothing
	$(BIN)/python -m experiments reproduce --budget smoke --results $$(mktemp -d) --afresh $(ARGS)

docs: $(VENV)/.ready ## build the site in build/docs and execute every page; warnings are errors
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --jobs 2 --builder html docs build/docs

wheel-check: ## build wheel and sdist, and run the first examples from the wheel in an empty environment of PYTHON
	$(PYTHON) tests/check_wheel.py

audit: $(VENV)/.ready ## requirements fit, installed files have their hashes, no known vulnerability; the last asks the package index, and fails where that has no such service
	$(BIN)/python tests/audit.py
	@test -d .venv-audit || $(PYTHON) -m venv .venv-audit
	@.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	@$(BIN)/python -m pip freeze --exclude-editable > .venv-audit/installed.txt
	.venv-audit/bin/pip-audit --strict --disable-pip --no-deps --requirement .venv-audit/installed.txt

clean: ## remove the environment and caches; run folders stay
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache

# A change of pyproject.toml updates the environment.
$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12 ..."; exit 1; }
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV), a minute or two on the first call"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@
