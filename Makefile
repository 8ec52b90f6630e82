# Everything a newcomer or a machine does here. `make demo` and `make test` do all their own set-up
# on a machine that has Python 3.11 or later and make.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.run
DEV := $(VENV)/.dev
JOBS ?= 4
SIMULATE_JOBS ?= $(JOBS)
SEEDS ?= 0:5000
HOURS ?= 1
BROKER ?= none
STYLE ?= orchestrated
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$python"; break; }; done)

# Whole spaces of the core are searched without counting branches, which would take twice as long.
SEARCHES := $(addprefix tests/decide/test_,barrier_model.py hop_model.py joined_model.py machine.py)

# Tests start hundreds of Python processes: what one has compiled is there for all others.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-rest check types lint test-fast test-core simulate soak order-system bench services services-install docs lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | awk -F':.*## ' '{ printf "  make %-16s %s\n", $$1, $$2 }'

demo: $(RUN) ## the order system at work: failures, compensations, a killed worker, a ledger that balances; WEB=1: a dashboard
	@$(BIN)/amends demo $(if $(WEB),--web) $(DEMO)

test: $(DEV) ## everything: style, types, layers, tests, simulation (under 30 minutes on 2 cores)
	@$(MAKE) --no-print-directory --jobs=2 check test-core
	@$(MAKE) --no-print-directory --jobs=2 test-rest simulate SIMULATE="nice -n 15" SIMULATE_JOBS=1

check: $(DEV) ## style, types and layers, without running anything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tests/check_types.py
	$(BIN)/pyright
	$(BIN)/lint-imports

test-core: $(DEV) ## the pure core, with every branch of it covered
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest tests/decide $(SEARCHES:%=--ignore=%)
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include='*/amends/decide/*' --fail-under=100

test-rest: $(DEV) # all but that, much of which waits: something else may run beside it
	@scratch=$$($(BIN)/python tests/scratch.py) && \
		TMPDIR=$$scratch $(BIN)/python -m pytest --basetemp=$$scratch/t -n $(JOBS) --dist worksteal \
			tests $(patsubst %,--ignore=%,$(filter-out $(SEARCHES),$(wildcard tests/decide/test_*.py))) || \
		{ echo "what the tests have written is in $$scratch"; exit 1; }; rm -rf $$scratch

simulate: $(DEV) ## seeded faults under a virtual clock: make simulate SEEDS=0:5000
	$(SIMULATE) $(BIN)/python -m amends.testing.simulate --seeds $(SEEDS) --jobs $(SIMULATE_JOBS)

soak: $(DEV) ## the same for hours, with seeds that were never run: make soak HOURS=1
	$(BIN)/python tests/soak/soak.py --hours $(HOURS)

order-system: $(DEV) ## four processes over a broker, all of it broken, the money checked: make order-system BROKER=nats
	@$(BIN)/python -m services install >/dev/null
	@$(BIN)/python -m examples.order_system --broker=$(BROKER) --style=$(STYLE)

bench: $(DEV) ## benchmarks beside their peers, in one run
	$(BIN)/python -m pip install --quiet -r requirements/bench.in
	$(BIN)/python -m bench

services: $(DEV) ## PostgreSQL, PgBouncer and the brokers for trying things, in the foreground: make services UP="nats kafka"
	@$(BIN)/python -m services up $(UP)

services-install: $(BIN)/python ## what of them is not on this machine, unpacked into .services/ (Debian and its kin)
	@$(BIN)/python -m services install

docs: $(DEV) ## the documentation as a site, in site/
	$(BIN)/python -m pip install --quiet -r requirements/docs.in
	$(BIN)/zensical build --clean

lock: $(BIN)/python ## resolve requirements/*.in anew, with hashes
	$(BIN)/python -m pip install --quiet uv
	for name in run installer dev; do \
		$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-package amends --no-header \
			--no-emit-index-url --no-emit-find-links --output-file requirements/$$name.lock requirements/$$name.in; done

clean: ## remove what these commands have made
	rm -rf $(VENV) .services site build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "amends needs Python 3.11 or later on the PATH (or: make PYTHON=/path/to/python)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv"; exit 1; }

$(RUN): requirements/run.lock pyproject.toml | $(BIN)/python
	@echo "installing amends into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# uv takes a third of pip's time; an index that only pip was told of is for pip.
$(DEV): requirements/dev.lock requirements/installer.lock $(RUN)
	@echo "installing the development tools into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/installer.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.lock 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@touch $@
