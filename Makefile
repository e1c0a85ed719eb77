# Each target sets up .venv first if need be. Requirements: Python 3.11 or newer, and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# marks the folder that the environment is linked to; it is linked again from another folder
LINKED := $(VENV)/.linked$(subst /,-,$(CURDIR))
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
export PATH := $(abspath $(BIN)):$(PATH)
export DVC_NO_ANALYTICS := 1

.DEFAULT_GOAL := help
.PHONY: help run fleet test test-all faults faults-runs check bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(LINKED)  ## run the pipeline on data/ (at first: the embedded digits)
	@espalier run

fleet: $(LINKED)  ## start PostgreSQL, S3, MLflow, Prefect and workers until Ctrl-C; FLAGS are those of `espalier fleet`
	@espalier fleet $(FLAGS)

test: $(LINKED)  ## run the tests
	@pytest -n 2 --dist loadfile --no-loadscope-reorder

test-all: $(LINKED)  ## run all tests, also those that take minutes
	@pytest -n 2 --dist loadfile --no-loadscope-reorder -m ""

faults: KILLS ?= 10000
faults: SEED ?= 0
faults: MINUTES ?= inf
faults: $(LINKED)  ## kill stages thousands of times, and write docs/reliability.json
	@python tests/faults/crash/campaign.py --kills $(KILLS) --seed $(SEED) --minutes $(MINUTES) --write $(MORE)

faults-runs: PROJECTS ?= 60
faults-runs: SEED ?= 0
faults-runs: MINUTES ?= inf
faults-runs: $(LINKED)  ## disturb the processes of whole runs, and write docs/reliability_runs.json
	@python tests/faults/crash/flow_campaign.py --projects $(PROJECTS) --seed $(SEED) --minutes $(MINUTES) --write

check: $(LINKED)  ## lint, check the format, types, import contracts and commit subjects
	@ruff check
	@ruff format --check
	@mypy
	@mypy benchmarks
	@lint-imports
	@.ci/commit_subjects

bench: BENCHES ?= training digits entry pipeline
bench: $(LINKED)  ## run the benchmarks of BENCHES: by default some that need neither data nor another library
	@for name in $(BENCHES); do echo "== $$name"; python benchmarks/bench_$$name.py || exit 1; done

clean:  ## remove build products and caches; keeps data, models, registry and runs
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf .espalier/bank .espalier/checkpoints .espalier/work
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# Written last, so that an interrupted installation is repeated.
$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV): PyTorch, Prefect, MLflow and DVC take some minutes, once."
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else \
	    f"Expected Python 3.11, 3.12 or 3.13; found {v[0]}.{v[1]}: run make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) -c constraints.txt -e '.[pipeline,fleet,dev]'
	@touch $@ $(LINKED)

$(LINKED): $(READY)
	@$(PIP) --no-deps -e .
	@rm -f $(VENV)/.linked*
	@touch $@
