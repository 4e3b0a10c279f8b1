# Everything here works in a fresh clone: the first target that needs the environment makes it (tools/bootstrap.sh).

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PY := .venv/bin/python
SETUP := .venv/.set-up
CLUSTER ?= demo
ARGS ?=

export DAGSTER_DISABLE_TELEMETRY := yes

.PHONY: help setup demo demo-slurm ui test test-quick test-all check format docs bench cluster-up cluster-down clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

$(SETUP): pyproject.toml uv.lock tools/bootstrap.sh
	@tools/bootstrap.sh
	@touch $@

setup: $(SETUP) ## the environment in .venv, from the lock file (every other target does this first)

demo: $(SETUP) ## the example asset graph on this machine
	@$(PY) examples/demo.py $(ARGS)

demo-slurm: $(SETUP) ## the same assets on a real Slurm cluster, which it brings up on this machine
	@$(PY) examples/demo.py --slurm $(ARGS)

ui: $(SETUP) ## Dagster's UI with finished, failed and plotted runs in it
	@$(PY) examples/ui.py $(ARGS)

test: $(SETUP) ## check, then the tests, with the real cluster (ARGS="-k name" narrows)
	@tools/check.sh
	@tools/test.sh -m "not slow" $(ARGS)

test-quick: $(SETUP) ## the tests that need no cluster
	@$(PY) -m pytest -m "not slow and not cluster" $(ARGS)

test-all: $(SETUP) ## everything: test, the slow tests, every Python at hand, and a fresh machine
	@tools/check.sh
	@tools/test.sh --hypothesis-profile=new $(ARGS)
	@tools/pythons.sh
	@tools/fresh_machine.sh

check: $(SETUP) ## formatting, lint, types, layers, shell scripts
	@tools/check.sh

format: $(SETUP) ## format the code and repair what the linter can
	@.venv/bin/ruff format
	@.venv/bin/ruff check --fix

docs: $(SETUP) ## the documentation, from docs/ into site/
	@tools/docs.sh

bench: $(SETUP) ## measure against raw ssh and sbatch
	@$(PY) -m benchmarks $(ARGS)

cluster-up: $(SETUP) ## a real Slurm cluster on this machine (Debian, root or sudo)
	@$(PY) -m testcluster up --name $(CLUSTER) $(ARGS)

cluster-down: $(SETUP) ## take it away again
	@$(PY) -m testcluster down --name $(CLUSTER) $(ARGS)

clean: ## remove what the targets above made, except the environment
	@rm -rf .demo .bench site .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist build
