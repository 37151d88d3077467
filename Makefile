# Everything runs from .venv, which each target makes by itself.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
REV ?= $(shell printf '%04d' $$(( $$(ls alembic/versions/[0-9]*.py | wc -l) + 1 )))
# pytest's own arguments: make test ARGS="-k resume"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo up test chaos check format documents notebook lock revision clean

help: ## Explain the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## Train, evaluate and predict once, on a stack of its own; ends by itself
	@$(BIN)/python -m standalone.demo

up: $(VENV)/.demo ## Run the embedded stack on http://127.0.0.1:8080 until Ctrl-C
	@$(BIN)/fitq up

test: $(VENV)/.dev ## Run the tests (ARGS="..." goes to pytest)
	@$(BIN)/python -m pytest $(ARGS)

chaos: $(VENV)/.dev ## Run CHAOS_JOBS jobs (100) on each stack under a random killer (CHAOS_SEED), and print what was left
	@$(BIN)/python -m tests.chaos

check: $(VENV)/.dev ## Format, lint, types, imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev ## Format the code and mend what ruff can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

documents: $(VENV)/.dev ## Write what is generated in docs/ anew: openapi.json, er.md, the views of sql.md
	@$(BIN)/python -m api.openapi > docs/openapi.json
	@$(BIN)/python -m shared.diagram > docs/er.md
	@$(BIN)/python -m shared.views

notebook: $(VENV)/.dev ## Write examples/notes.ipynb anew from examples/notes.py
	@$(BIN)/python examples/make_notebook.py

lock: ## Write the lock files anew (needs uv on the PATH)
	@requirements/lock.sh

revision: $(VENV)/.dev ## Make a migration: make revision name=what_it_does
	@$(BIN)/alembic revision --autogenerate --rev-id $(REV) -m "$(name)"

clean: ## Remove .venv and caches (not .fitq, which holds jobs)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# --- the virtual environment: made once for each lock file ---

$(BIN)/python:
	@requirements/venv.sh $(VENV)

$(VENV)/.demo: requirements/demo.txt pyproject.toml client/pyproject.toml | $(BIN)/python
	@test -f $(VENV)/.dev -a ! requirements/dev.txt -nt $(VENV)/.dev || requirements/install.sh $(VENV) demo
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml client/pyproject.toml | $(BIN)/python
	@requirements/install.sh $(VENV) dev
	@touch $@
