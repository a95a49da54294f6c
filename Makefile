# `make` sets everything up and runs the pipeline on the embedded data; `make test` sets up and tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
READY := $(VENV)/.ready

export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := all

.PHONY: all
all: pipeline ## set up, run the pipeline on the embedded data, print the scores

.PHONY: setup
setup: $(READY) ## make the environment in .venv from the lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("wordgaze needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(UV) || $(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -o '^uv==[0-9.]*' requirements.lock)"
	@$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: pipeline
pipeline: $(READY) ## run what has changed of the six stages
	@dvc repro
	@wordgaze summary

.PHONY: test
test: $(READY) browser ## ruff, mypy, pytest
	ruff check .
	ruff format --check .
	mypy
	pytest

.PHONY: browser
browser: # the tests of pages need the system's Chromium; without it they skip and say so
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	  && apt-get -qq update >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends chromium >/dev/null; } \
	  || echo "no Chromium here: the tests of pages will skip"

.PHONY: lock
lock: $(READY) ## resolve the dependencies anew
	$(UV) pip compile pyproject.toml --extra all --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --quiet --output-file requirements.lock

.PHONY: clean
clean: ## delete what the pipeline made; the environment and MLflow's store stay
	rm -rf .scratch data/raw data/prepared data/features models/stage1 models/stage2

.PHONY: help
help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'
