# Thin names for the commands. Every target sets itself up: a virtual environment in .venv with the pinned packages.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
unexport PYTHONDONTWRITEBYTECODE  # what is imported is compiled once, and not by each of a thousand processes
export STREAMREC_DATA ?= $(wildcard ../shared/data)

.PHONY: help demo test check bench format clean

help:
	@echo "make demo    the whole loop on this machine: events, learning, Redis, live scores"
	@echo "make test    every test, with real servers"
	@echo "make check   format, lint, types, import layers"
	@echo "make bench   speed and memory beside peers"

$(STAMP): pyproject.toml deploy/constraints.txt
	@echo "Setting up $(VENV) (first run only, about a minute) ..."
	@$(PYTHON) -c 'import sys; sys.exit("streamrec needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; set PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint deploy/constraints.txt --editable '.[test,check,plot,bench,fast]'
	@$(BIN)/python deploy/install_redis.py
	@touch $@

demo: $(STAMP)
	@$(BIN)/streamrec demo

test: $(STAMP)  ## three processes: tests wait for servers as long as they compute; those of a file stay together
	@$(BIN)/python deploy/install_chromium.py
	@echo "Compiling kernels for the tests (first run only, some two minutes) ..."
	@$(BIN)/python deploy/prepare_kafka.py & $(BIN)/python deploy/warm.py wide dcn two_tower; warm=$$?; wait; exit $$warm  # once, and not in three processes
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

check: $(STAMP)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(STAMP)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(STAMP)
	@$(BIN)/streamrec bench

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
