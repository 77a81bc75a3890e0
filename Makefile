# Everything starts here; `make` alone explains itself.

# Python for the virtual environment; it must be 3.11 or newer.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# Where Linux machines without an NVIDIA GPU get torch; empty: only where pip already looks.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PRESET ?= tiny
MODEL ?= runs/$(PRESET)
ENGINE ?= torch
# What `make serve` offers, to be chosen in the chat page or raced against each other.
ENGINES ?= torch mistralrs
REPORT ?= reports/latest
# The reports of `make bench`.
MATRIX ?= notebooks/reports/bench.toml
# More arguments for pytest: make test ARGS="-k parity"
ARGS ?=

BIN := .venv/bin
AIRUST := $(BIN)/python -m airust
INSTALL := $(BIN)/python scripts/install.py --torch-index "$(TORCH_INDEX)"
# A recorded run of the same preset in two stages, shown beside the model's exam.
COMPARED := $(wildcard reports/$(notdir $(MODEL))-two-stage)
WRITE_REPORT = $(AIRUST) report --quick --model $(MODEL) --out $(REPORT) \
               $(if $(COMPARED),--set 'compare=["$(COMPARED)"]')
# What a report is measured with: when any of it changes, the next `make run` measures again.
MEASURED := $(wildcard airust/bench/*.py airust/engines/*.py airust/engines/*/*.py) \
            $(wildcard notebooks/reports/*.ipynb)

.DEFAULT_GOAL := help
.PHONY: help run train chat lab serve bench candle docs test test-full lock clean
help:  ## this list
	@echo "airust: train a small GPT, take it apart, and run the same weights in Rust engines."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "Variables: PRESET=$(PRESET) MODEL=$(MODEL) ENGINE=$(ENGINE) REPORT=$(REPORT)"
	@echo "           TORCH_INDEX=$(TORCH_INDEX)"
	@echo "Start with: make run"

run: $(REPORT)/.complete  ## install, train, prove parity, measure, write the report
	@echo
	@echo "The report:  $(REPORT)/report.html   (make bench measures at length)"
	@echo "Next, try:"
	@echo '  $(BIN)/airust ask --model $(MODEL) "What is the capital of France?"'
	@echo "  make chat ENGINE=mistralrs"
	@echo "  make lab"

train: $(MODEL)/eval.json  ## train PRESET into MODEL, or go on where it stopped

chat: $(MODEL)/eval.json  ## talk with MODEL in the terminal, through ENGINE
	@$(AIRUST) chat --model $(MODEL) --engine $(ENGINE)

lab: .venv/.installed  ## JupyterLab at the start of the learning path
	$(BIN)/jupyter lab --ServerApp.root_dir=. notebooks/00-start-here.ipynb

serve: $(MODEL)/eval.json  ## the chat page and the API on port 3000, MODEL in each of ENGINES
	@$(AIRUST) serve --model $(MODEL) $(addprefix --engine ,$(ENGINES))

bench: $(MODEL)/.parity-proven .venv/.installed-bench .venv-guidellm/.installed  ## all reports at length (hours); goes on where it stopped
	$(AIRUST) report --matrix $(MATRIX)

test: .venv/.installed-dev  ## the tests; at most 15 minutes on 2 cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

test-full: .venv/.installed-llamacpp .venv/.installed-docs .venv-guidellm/.installed  ## what takes a compiler, a browser or a long run
	$(BIN)/python -m pytest -m full $(ARGS)

candle: .venv/.installed-candle  ## build and install the candle engine (needs cargo)

docs: .venv/.installed-docs  ## the site of docs/ and the notebooks, in build/docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -c docs . build/docs
	$(BIN)/python scripts/check_site.py build/docs
	@echo "The site:  build/docs/index.html"

lock: .venv/.installed-dev  ## constraints.txt anew from pyproject.toml (needs uv)
	$(BIN)/python scripts/lock.py

clean:  ## remove caches and REPORT; .venv and runs/ stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache build dist *.egg-info $(REPORT)
	find airust tests scripts notebooks -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf

# --- What is made once. `|` means: must be there, but being newer is no reason to make it again.

.venv/.made:
	@test -n "$(PYTHON)" || { echo "Error: there is no python3 here; install Python 3.11."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Error: $(PYTHON) does not run or is older than 3.11: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.installed: .venv/.made pyproject.toml constraints.txt scripts/install.py
	$(INSTALL)
	@touch $@

.venv/.installed-dev: .venv/.installed
	$(INSTALL) --extras dev
	@touch $@

.venv/.installed-docs: .venv/.installed
	$(INSTALL) --extras docs
	@touch $@

.venv/.installed-llamacpp: .venv/.installed-dev
	@if command -v c++ >/dev/null; then $(INSTALL) --extras dev,llamacpp; \
	else echo "No C++ compiler here: llama.cpp is left out and its tests are skipped."; fi
	@touch $@

# guidellm's pins and ours exclude each other. torch first: its own choice is a build for GPUs.
.venv-guidellm/.installed: .venv/.made scripts/install.py
	$(PYTHON) -m venv .venv-guidellm
	.venv-guidellm/bin/python scripts/install.py --torch-index "$(TORCH_INDEX)" --torch-only
	.venv-guidellm/bin/python -m pip install --quiet guidellm==0.8.1
	@touch $@

# The client of the service, and llama.cpp where it can be compiled; `make candle` adds candle.
.venv/.installed-bench: .venv/.installed
	@if command -v c++ >/dev/null; then $(INSTALL) --extras openai,llamacpp; \
	else $(INSTALL) --extras openai; fi
	@touch $@

# Cargo keeps what it has built in crates/airust-candle/target.
CRATE := $(wildcard $(addprefix crates/airust-candle/,*.toml .cargo/* src/*.rs))
.venv/.installed-candle: .venv/.installed $(CRATE)
	@command -v cargo >/dev/null || \
	    { echo "Error: there is no cargo here; install Rust first (rustup.rs)."; exit 1; }
	$(BIN)/python -m pip install --quiet "maturin>=1.9"
	cd crates/airust-candle && PATH="$(CURDIR)/$(BIN):$$PATH" \
	    ../../$(BIN)/python -m pip install --no-build-isolation --no-deps .
	@touch $@

$(MODEL)/eval.json: | .venv/.installed
	$(AIRUST) train --preset $(PRESET) --out $(MODEL) --resume

# Stamps: the files themselves are also written when an engine fails, to say how.
$(MODEL)/.parity-proven: $(MODEL)/eval.json
	$(AIRUST) parity --model $(MODEL) --json $(MODEL)/parity.json
	@touch $@

$(REPORT)/.complete: $(MODEL)/.parity-proven $(MEASURED)
	$(WRITE_REPORT)
	@touch $@
