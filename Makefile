# make demo   set up .venv and run the main job on the embedded data
# make test   set up .venv and pass the tests, two at a time (WORKERS=1 …)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2
SIDE_BY_SIDE := -n $(WORKERS) --dist worksteal
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt

.PHONY: demo test test-slow lint build help

help:
	@grep -E '^# make' Makefile | sed 's/^# //'

# torch first and alone: an exact version keeps pip from replacing a build made for this machine.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "medreg needs Python 3.11 or later; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) --editable '.[fast,test,lint]'
	@touch $(READY)

demo: $(READY)
	$(BIN)/python train.py experiment=demo

test: $(READY)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

# make test-slow   the tests that take minutes
test-slow: $(READY)
	$(BIN)/python -m pytest -m slow --timeout=1800 $(SIDE_BY_SIDE)

# make lint   style and types
lint: $(READY)
	$(BIN)/python -m ruff check . && $(BIN)/python -m ruff format --check . && $(BIN)/python -m mypy

# make build   a wheel in dist/
build: $(READY)
	$(PIP) build && $(BIN)/python -m build --wheel
