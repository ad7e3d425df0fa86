# How Skylark is run, tested and measured. `make help` lists the targets.
SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
# Without build isolation pip obeys its own configuration (certificates, indexes) throughout.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help venv engine migrate run stop-proxy test check format bench bench-traffic bench-logs chaos clean-docker

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 18
	@echo
	@echo "Settings are SKYLARK_* variables (docs/operations.md). PYTEST_ARGS goes to pytest, VENV names the environment."

venv: $(VENV)/.made ## the Python environment, with the project editable in it

# Made again whenever the dependencies may have changed.
$(VENV)/.made: setup.cfg pyproject.toml
	@deploy/install.sh python
	@if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    "$$(deploy/find-python.sh)" -m venv --clear $(VENV); fi
	$(PIP) 'setuptools>=70.1'
	$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@

engine: ## a Docker engine that answers, installed and started when there is none
	@deploy/install.sh python engine
	@deploy/ensure-engine.sh

migrate: venv ## bring the database up to date
	@$(BIN)/skylark migrate

run: engine venv ## Skylark in the foreground; Ctrl-C leaves the containers of services and the proxy serving
	@exec $(BIN)/skylark run

stop-proxy: venv ## end the proxy that a stopped Skylark has left serving
	@$(BIN)/skylark stop-proxy

test: venv ## everything: checks and the whole test-suite, on real parts
	@deploy/install.sh python engine tests
	@deploy/ensure-engine.sh
	@$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: venv ## style, types and who may import whom; needs no engine
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_boundaries.py

format: venv ## write the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: venv ## Skylark beside the raw SDK, docker-compose, Swarm, HPA, docker logs and grep; tables on the screen, numbers in build/
	@deploy/install.sh python engine tests bench
	@deploy/ensure-engine.sh
	$(BIN)/python -m tests.bench
	$(BIN)/python -m tests.bench.autoscaling
	$(BIN)/python -m tests.bench.sampling
	@$(MAKE) --no-print-directory bench-logs

bench-traffic: venv ## the proxy beside nginx and Caddy, how fast it follows, and what changes cost under load
	@deploy/install.sh python engine tests bench
	@deploy/ensure-engine.sh
	$(BIN)/python -m tests.bench.traffic
	$(BIN)/python -m tests.bench.lossless --rounds 3
	$(BIN)/python -m tests.bench.cold_start

bench-logs: venv ## of these only the logs: collecting, counted line by line, and asking
	@deploy/install.sh python engine tests
	@deploy/ensure-engine.sh
	$(BIN)/python -m tests.bench.log_ingest
	$(BIN)/python -m tests.bench.log_query

chaos: venv ## the crash tests in their long form: a kill beside every engine call, and under fifty writing containers
	@deploy/install.sh python engine tests
	@deploy/ensure-engine.sh
	SKYLARK_CHAOS=long $(BIN)/python -m pytest tests/chaos $(PYTEST_ARGS)

clean-docker: ## remove what tests left on the engine, by their label, and nothing else
	@deploy/clean-docker.sh
