# The two commands: `make` sets up and runs the pipeline on the built-in data; `make test` sets up and tests.
# Both make the environment in .venv first, from the lock. PYTHON chooses the interpreter of a new environment.
PYTHON ?= python3
# The tests run in this many processes.
WORKERS ?= auto
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# PyTorch's builds: those of the lock, which for Linux are for GPUs, or those that uv knows by this name, such as cpu. An
# environment remembers its choice.
TORCH_BACKEND ?= $(shell cat $(VENV)/torch-backend 2>/dev/null)
READY := $(VENV)/.ready$(TORCH_BACKEND)
BROWSERS := chromium chromium-browser google-chrome google-chrome-stable

export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := all

.PHONY: all
all: pipeline ## set up, run the pipeline on the built-in data, print the scores

.PHONY: setup
setup: $(READY) ## make the environment in .venv from the lock: on Linux 7 GB, of which 4.6 GB are for GPUs

.PHONY: interpreter
interpreter: # an environment keeps its Python, so another PYTHON that is asked for is refused
	@test "$(origin PYTHON)" = file || test ! -x $(BIN)/python || { \
	  version='import sys; print("%d.%d" % sys.version_info[:2])'; \
	  asked=$$($(PYTHON) -c "$$version") && there=$$($(BIN)/python -c "$$version") && test "$$asked" = "$$there" || { \
	    echo "$(VENV) has Python $$there, and PYTHON=$(PYTHON) is Python $$asked; rm -r $(VENV), or leave PYTHON out" >&2; exit 1; }; }

$(READY): requirements.lock pyproject.toml | interpreter
	@$(PYTHON) -c 'import sys; sys.exit("wordgaze needs Python 3.11 or newer; choose one with make PYTHON=…") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(UV) || $(BIN)/python -m pip install --disable-pip-version-check --quiet "$$(grep -o '^uv==[0-9.]*' requirements.lock)"
	@rm -f $(VENV)/.ready*
ifeq ($(TORCH_BACKEND),)
	@echo "installing requirements.lock into $(VENV): a few minutes the first time. On Linux it takes 7 GB, of which" \
	  "4.6 GB are for GPUs; TORCH_BACKEND=cpu make leaves those out"
	@test -t 2 || quiet=--quiet; $(UV) pip sync $$quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
else
	@echo "installing requirements.lock into $(VENV), with PyTorch's builds for $(TORCH_BACKEND)"
	@# PyTorch's own index has other checksums than the lock, so its two packages are pinned by their versions
	@$(BIN)/python deploy/constraints.py requirements.lock $(VENV)/hashed.txt $(VENV)/torch.txt
	@test -t 2 || quiet=--quiet; \
	  $(UV) pip sync $$quiet --compile-bytecode --python $(BIN)/python --require-hashes $(VENV)/hashed.txt && \
	  $(UV) pip install $$quiet --compile-bytecode --python $(BIN)/python --no-deps --torch-backend $(TORCH_BACKEND) \
	    --requirement $(VENV)/torch.txt
endif
	@echo "$(TORCH_BACKEND)" > $(VENV)/torch-backend
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: pipeline
pipeline: $(READY) repository .dvc/plots.html ## run what has changed of the stages, print the scores
	@wordgaze doctor --fix
	@dvc repro
	@wordgaze summary

.PHONY: repository
repository: $(READY) # DVC needs git, unless it is told that there is none, as in an unpacked archive
	@test -e .git || grep -qs no_scm .dvc/config.local || { dvc config --local core.no_scm true; \
	  echo "There is no git repository here, so DVC works without one, and without experiments. To have them: git init," \
	    "git add -A, git commit, and dvc config --local --unset core.no_scm"; }

.dvc/plots.html: | $(READY) repository # dvc plots shows this page, which needs no network
	@wordgaze offline-plots

.PHONY: test
test: $(READY) browser web-runtime lint ## ruff, mypy, the documentation, pytest; CI=true as root installs Chromium
	pytest -n $(WORKERS) --maxprocesses 8 --dist loadfile --no-loadscope-reorder $(COVERAGE)

.PHONY: coverage
coverage: COVERAGE := --cov
coverage: test ## as test, and which lines no test runs; takes a fifth longer

.PHONY: quick
quick: $(READY) ## pytest without the tests that run the pipeline
	pytest -n $(WORKERS) --maxprocesses 8 --dist loadfile -m "not slow"

.PHONY: lint
lint: $(READY) ## ruff, mypy and bandit
	ruff check .
	ruff format --check .
	mypy
	@# what it says on standard error is about lines that it passed
	bandit --quiet --configfile pyproject.toml --recursive src pipeline scripts 2>/dev/null

.PHONY: audit
audit: $(READY) ## known vulnerabilities of the locked packages, from the network
	$(UV) tool run pip-audit==2.10.1 --disable-pip --require-hashes --requirement requirements.lock

.PHONY: sbom
sbom: $(READY) ## the packages of the lock as a CycloneDX bill of materials, sbom.json
	cyclonedx-py requirements --output-reproducible --pyproject pyproject.toml --mc-type application -o sbom.json requirements.lock

.PHONY: docs
docs: $(READY) ## build the documentation into site/
	mkdocs build --strict

.PHONY: browser
browser: # the tests of web pages need a browser; only CI installs one without being asked
	@for name in $(BROWSERS); do if command -v $$name >/dev/null; then exit 0; fi; done; \
	  if test "$$CI" = true && test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
	    echo "installing Chromium for the tests of web pages"; \
	    apt-get -qq update >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends chromium >/dev/null && exit 0; \
	  fi; \
	  echo "There is no Chromium or Chrome here: the tests of web pages will be skipped. To run them: apt-get install chromium"

.PHONY: web-runtime
web-runtime: $(READY) # the tests of exported pages need ONNX Runtime Web; only CI fetches it without being asked
	@runtime='from wordgaze.export import web_runtime as web'; \
	  $(BIN)/python -c "$$runtime; exit(not web.cached_runtime().is_file())" && exit 0; \
	  if test "$$CI" = true || test "$(MAKECMDGOALS)" = web-runtime; then \
	    $(BIN)/python -c "$$runtime; web.fetch_runtime()" 2>/dev/null && exit 0; \
	  fi; \
	  echo "ONNX Runtime Web is not here: the tests of exported pages will be skipped. To run them: make web-runtime, with npm"

.PHONY: lock
lock: $(READY) ## resolve the dependencies again
	$(UV) pip compile pyproject.toml --extra all --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --quiet --output-file requirements.lock

.PHONY: clean
clean: ## delete what the pipeline computed; the data set, what was downloaded and MLflow's store stay
	rm -rf data/prepared data/features models/stage1 models/stage2 site dist
	test ! -d .scratch || find .scratch -mindepth 1 -maxdepth 1 ! -name downloads -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## as clean, and the data set, the downloads, DVC's cache and the environment too
	rm -rf .scratch data/raw .dvc/cache $(VENV)

.PHONY: help
help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'
	@echo
	@echo "PYTHON=python3.12 make     the interpreter of a new environment; rm -r $(VENV) removes the old one"
	@echo "TORCH_BACKEND=cpu make     without the libraries for GPUs: 4.6 GB less on Linux"
	@echo "WORKERS=1 make test        the number of processes of pytest; auto is one per core"
	@echo "Without Chromium or Chrome on the PATH, make test skips the tests of web pages. With CI=true and as root it"
	@echo "installs Chromium with apt-get."
