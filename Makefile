# crosscredit: every target sets up what it needs. Start with `make demo` or `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo live down secrets test lint bench bench-live bench-memory bench-panels dashboards screenshots soak lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /|/' | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(VENV)/.run ## Make .venv with .venv/bin/crosscredit

setup-dev: $(VENV)/.dev ## The same with the tools of the tests

$(VENV)/.base: deploy/make-venv.sh deploy/build-requirements.lock
	@PYTHON="$(PYTHON)" sh deploy/make-venv.sh "$(VENV)"
	@touch $@

$(VENV)/.run: $(VENV)/.base requirements.lock pyproject.toml
	@echo "Installing crosscredit and what it needs into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	@echo "Installing the tools of the tests into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

demo: $(VENV)/.run ## Run a season of cross-promotion and write the partners' pages
	@$(BIN)/crosscredit demo

live: $(VENV)/.run ## Run the live pipeline on a local Kafka: a page that changes while events flow
	@$(BIN)/crosscredit live

down: ## End what `make live` started
	@$(BIN)/crosscredit stack down

secrets: ## Make the passwords that docker-compose.yml reads, where they are missing
	@sh deploy/make-secrets.sh deploy/secrets

test: $(VENV)/.dev ## Run all tests
	@$(BIN)/python -m compileall -q pipeline tests # some hundred processes start, and may be forbidden to keep what they compile
	@$(BIN)/python -m pytest

lint: $(VENV)/.dev ## Lint, strict types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.run ## Measure events per CPU-second of the main job
	@$(BIN)/python benchmarks/run_bench.py

bench-live: $(VENV)/.run ## Measure the live pipeline: one broker, one worker
	@$(BIN)/python -m benchmarks.live

bench-memory: $(VENV)/.run ## Ten minutes of even load: does a worker's memory stay flat
	@$(BIN)/python -m benchmarks.memory

bench-panels: $(VENV)/.run ## Time every panel over ten million clicks
	@$(BIN)/python -m benchmarks.panels

dashboards: $(VENV)/.run ## Write dashboards/*.json from the panels' definitions
	@$(BIN)/python -m pipeline.pages.boards dashboards

screenshots: $(VENV)/.run ## Pictures of the partners' pages for docs/pages.md, after `make demo` (needs Chromium)
	@$(BIN)/python docs/images/screenshots.py crosscredit-demo/pages

soak: $(VENV)/.dev ## Faults at random for SECONDS (900), beginning with SEED (1)
	@CROSSCREDIT_SOAK=$(or $(SECONDS),900) CROSSCREDIT_SEED=$(or $(SEED),1) $(BIN)/python -m pytest tests/live/test_soak.py -n 0 -x

lock: ## Renew the lock files (needs uv)
	uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements.lock pyproject.toml --group dev -o requirements-dev.lock

clean: ## Remove what the targets made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache crosscredit-demo
