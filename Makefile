# One target for each thing a person does. `make` alone lists them.
# Nothing but make and Python 3.11, 3.12 or 3.13 is needed: every target sets up what it needs.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# The first Python of a supported version; `make PYTHON=...` chooses another.
supported = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	$$python -c '$(supported)' >/dev/null 2>&1 && echo $$python && break; done)

VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2

# Stamps carry a checksum of what was installed, so that a changed lock installs anew.
checksum = $(firstword $(shell cat $(1) | cksum))
SETUP := $(VENV)/.setup-$(call checksum,requirements/dev.lock pyproject.toml)
SETUP_HF := $(VENV)/.setup-hf-$(call checksum,requirements/hf.lock requirements/dev.lock)
SETUP_PATHS := $(VENV)/.setup-paths-$(call checksum,requirements/paths.lock requirements/dev.lock)
SETUP_EXPLORE := $(VENV)/.setup-explore-$(call checksum,requirements/explore.lock requirements/dev.lock)
SETUP_REPORT := $(VENV)/.setup-report-$(call checksum,requirements/report.lock requirements/dev.lock)

MODEL := programs/model/tessera-tiny
DEMO := programs/build/tessera-tiny.bin
STUDIES ?= fp4-fp8 split-array sram-bandwidth
PROMPT ?= Return a new list

.PHONY: help setup test laws fuzz lint format docs demo conformance conformance-full paths mutants test-hf test-explore test-report perplexity bench performance figures studies scale lock clean distclean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 26

setup: $(SETUP) ## Create .venv with everything at the locked versions

$(SETUP):
	@test -n "$(PYTHON)" || { echo "make: Python 3.11, 3.12 or 3.13 is needed" >&2; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes -r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--no-build-isolation --no-deps --editable .
	@rm -f $(VENV)/.setup-[0-9]*
	@touch $@

$(SETUP_HF): | $(SETUP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/hf.lock
	@rm -f $(VENV)/.setup-hf-*
	@touch $@

$(SETUP_PATHS): | $(SETUP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes -r requirements/paths.lock
	@rm -f $(VENV)/.setup-paths-*
	@touch $@

$(SETUP_EXPLORE): | $(SETUP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes -r requirements/explore.lock
	@rm -f $(VENV)/.setup-explore-*
	@touch $@

$(SETUP_REPORT): | $(SETUP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes -r requirements/report.lock
	@rm -f $(VENV)/.setup-report-*
	@touch $@

test: $(SETUP) ## Run the tests
	$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal --hypothesis-profile ci

laws: $(SETUP) ## Hold the timing model's laws against LAWS=10000 random cases each
	TESSERA_LAWS=$(or $(LAWS),10000) $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal \
		tests/test_timing_laws.py tests/test_timing_monotone.py tests/test_timing_reserve.py \
		tests/test_timing_hbm.py

fuzz: $(SETUP) ## Random programs and mutated inputs: the long run (docs/fuzzing.md)
	PYTHONPATH=tests $(BIN)/python -m fuzz --jobs $(JOBS) $(FUZZ)

lint: $(SETUP) ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(SETUP) ## Put the code into its style
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: $(SETUP) ## Check that docs/isa is what the specification says
	$(BIN)/python -m isa.document docs/isa --check

demo: $(DEMO) ## Compile the model that comes along, and let it write
	$(BIN)/emu run $(DEMO) --prompt "$(PROMPT)" --max-new-tokens 60 \
		--temperature 0.7 --top-k 40 --seed 1

# Compiled again when the compiler, the ISA or the model changes.
$(DEMO): $(shell find compiler isa $(MODEL) -type f ! -name '*.pyc' 2>/dev/null) | $(SETUP)
	@mkdir -p $(@D)
	$(BIN)/emu compile $(MODEL) --chip t1 --weights mxfp4 --activations mxfp8 -o $@

conformance: $(SETUP) ## Hold the executors and the C model against the conformance kit
	JOBS=$(JOBS) tests/conformance.sh

paths: $(SETUP_PATHS) ## The same bits on every path of the kernels: AVX2, plain x86-64, aarch64 (minutes)
	JOBS=$(JOBS) tests/paths.sh $(PATHS)

conformance-full: $(SETUP) ## The same with the cases that take minutes; goes on where it was
	JOBS=$(JOBS) tests/conformance.sh --full

mutants: $(SETUP) ## Plant errors in the reference: which does the kit notice?
	$(BIN)/emu conformance strength --jobs $(JOBS) --markdown docs/conformance-strength.md

test-hf: $(SETUP_HF) ## Compare with transformers (installs torch)
	$(BIN)/python -m pytest -q -m hf --hypothesis-profile ci

test-explore: $(SETUP_EXPLORE) ## Explore on Dask and Slurm's stand-in, by search, to Parquet (installs them)
	$(BIN)/python -m pytest -q -n $(JOBS) -rs --hypothesis-profile ci $(wildcard tests/test_explore*.py)

test-report: $(SETUP_REPORT) ## Look at reports in headless Chromium, which must be there (installs Plotly)
	$(BIN)/python -m pytest -q -rs -m browser --hypothesis-profile ci tests/test_explore_report_browser.py

perplexity: $(SETUP) ## Held-out perplexity of the shipped model in every format
	$(BIN)/python programs/model/perplexity.py

bench: $(SETUP) ## Measure the emulator beside this machine's limits (minutes)
	$(BIN)/emu bench $(BENCH)

performance: $(SETUP) ## Measure all of docs/performance.md anew, and renew it (a quarter of an hour)
	$(BIN)/emu bench --json docs/bench.json
	$(BIN)/emu bench growth --json docs/growth.json
	$(MAKE) figures

figures: $(SETUP) ## Renew pictures and tables of speed from docs/bench.json and docs/growth.json
	$(BIN)/emu bench plot docs/bench.json -o docs/img/roofline.svg \
		--into docs/performance.md --into README.md
	$(BIN)/emu bench plot docs/bench.json -o docs/img/bars.svg --picture bars
	$(BIN)/emu bench plot docs/growth.json -o docs/img/growth.svg \
		--into docs/performance.md --into README.md

studies: $(SETUP) ## Run docs/studies, and renew their pictures and tables (minutes)
	for name in $(STUDIES); do \
		$(BIN)/emu explore docs/studies/$$name.yaml -o programs/build/studies/$$name && \
		$(BIN)/python docs/studies/figures $$name programs/build/studies/$$name || exit 1; done

scale: $(SETUP) ## Compile and run a 1B shape and time an 8B one
	$(BIN)/python programs/bench/scale_1b.py

lock: ## Make the lock files anew (needs uv)
	for part in dev hf paths explore report; do \
		{ sed -n '/^# /p' requirements/$$part.lock; \
		  if [ $$part = hf ]; then sed -n '/^torch==/p' requirements/hf.lock; fi; } \
			> requirements/$$part.new; done
	uv pip compile pyproject.toml requirements/build.in --extra dev --extra plots --generate-hashes $(lock-flags) \
		>> requirements/dev.new
	uv pip compile requirements/hf.in --constraint requirements/dev.new $(lock-flags) \
		>> requirements/hf.new
	uv pip compile requirements/paths.in --constraint requirements/dev.new --generate-hashes \
		$(lock-flags) >> requirements/paths.new
	uv pip compile requirements/explore.in --constraint requirements/dev.new --generate-hashes \
		$(lock-flags) >> requirements/explore.new
	uv pip compile requirements/report.in --constraint requirements/dev.new --generate-hashes \
		$(lock-flags) >> requirements/report.new
	for part in dev hf paths explore report; do mv requirements/$$part.new requirements/$$part.lock; done

lock-flags := --quiet --universal --python-version 3.11 --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links

clean: ## Remove what was built
	rm -rf programs/build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find isa emulator compiler programs tests -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## Remove the environment as well
	rm -rf $(VENV)
