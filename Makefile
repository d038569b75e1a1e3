# `make` alone lists everything. Nothing but make and Python 3.11 is needed.
SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

python := .venv/bin/python
local := $(python) -m deploy.local
workers ?= 3
parallel := -n $(workers) --no-loadscope-reorder

.PHONY: help setup up down status logs demo rapport backup restore quick test check format types fences unit pytest coverage chaos bench attacks screenshots docs translations spectral image picture clean .env

help: ## show this list
	@echo "Rapport: make TARGET"
	@awk -F ':.*## ' '/^[a-z.]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: .venv/.local-stamp ## name the site, its first author; ARGS="--name Beans" answers
	@$(local) run rapport setup $(ARGS)

up: .venv/.local-stamp ## start everything, servers too; PROFILE=small: in one process
	@$(local) up

down: .venv/.local-stamp ## stop everything; the data stays in .local
	@$(local) down
	@echo 'The data is kept: `make up` starts everything again.'

status: .venv/.local-stamp ## show every process, its memory, restarts and last end
	@$(local) status || [ $$? -eq 1 ]

logs: .venv/.local-stamp ## follow all logs
	@$(local) logs

demo: .venv/.local-stamp ## play the story; WORDPRESS=file.xml imports that first
	@[ -z "$$WORDPRESS" ] || [ -r "$$WORDPRESS" ] || { echo "$$WORDPRESS cannot be read." >&2; exit 1; }
	@$(MAKE) up
	@$(local) run python -m deploy.local.demo $${WORDPRESS:+--wordpress "$$WORDPRESS"}

rapport: .venv/.local-stamp ## run an operator's command here: ARGS="person grant EMAIL ROLE"
	@$(local) run rapport $(ARGS)

backup: .venv/.local-stamp ## back up the running databases: ARGS="FOLDER [--verify]"
	@$(local) backup $(ARGS)

restore: .venv/.local-stamp ## restore after `make down`: ARGS="FOLDER posts comments --dry-run"
	@$(local) restore $(ARGS)

quick: .venv/.dev-stamp ## format, lint, types and unit tests, no servers: a minute
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	@$(MAKE) types unit

test: check pytest ## check, and every test on real servers (what CI runs): minutes

check: .venv/.dev-stamp ## formatting, lint, types, import fences and generated documents
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	@$(MAKE) types fences
	$(python) -m services.operator.asyncapi --check
	$(python) -m services.gateway.openapi --check

types: .venv/.dev-stamp ## check the types with mypy --strict
	.venv/bin/mypy

fences: .venv/.dev-stamp ## check which module may import which
	.venv/bin/lint-imports

unit: .venv/.dev-stamp ## unit tests only, no servers
	.venv/bin/pytest tests/unit $(parallel) $(ARGS)

pytest: .venv/.dev-stamp ## every test on real servers; ARGS="FILE -k WORD" runs some
	.venv/bin/pytest -m "not chaos" $(parallel) $(ARGS)

format: .venv/.dev-stamp ## format the code and repair what lint can
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

coverage: .venv/.dev-stamp ## every test, and which lines of services/ they reach
	rm -f .coverage .coverage.*
	.venv/bin/pytest -m "not chaos" $(parallel) --cov=services --cov-report=term-missing:skip-covered

chaos: .venv/.dev-stamp ## the full crash tests, every alarm: kills, outages; long
	.venv/bin/pytest -m chaos tests/chaos tests/e2e/test_alarms.py tests/e2e/test_codes_under_attack.py tests/e2e/test_long_thread.py -s $(ARGS)

bench: .venv/.dev-stamp ## measure beside bounds; BASE=commit ROUNDS=n ARGS="pages"
	$(python) -m tests.benchmarks $(if $(BASE),--base '$(BASE)') $(if $(ROUNDS),--rounds $(ROUNDS)) $(ARGS)

screenshots: .venv/.dev-stamp ## show every page, into screenshots/; ARGS="--only post"
	$(python) -m tests.looks screenshots $(ARGS)

attacks: .venv/.dev-stamp ## attack, and measure what others notice; ARGS="idle"
	$(python) -m tests.benchmarks.attacks $(ARGS)

docs: .venv/.dev-stamp ## write the generated documents anew
	$(python) -m services.operator.asyncapi
	$(python) -m services.gateway.openapi

translations: .venv/.dev-stamp ## renew the translations of the pages, list what is left
	$(python) -m tests.translations

spectral: ## lint the OpenAPI document with Spectral, which npm fetches
	npx --yes @stoplight/spectral-cli@6 lint --ruleset docs/openapi/spectral.yaml --fail-severity warn docs/openapi/gateway.json

picture: .venv/.dev-stamp ## draw the README's picture of the site of `make demo`
	$(python) -m tests.picture

image: ## build the container image with docker
	docker build -f deploy/Dockerfile -t rapport .

.env: .venv/.local-stamp ## make keys and passwords for compose: those that are missing
	@$(python) -m deploy.local.dotenv $@

clean: ## stop everything; delete the data, environment and caches here
	@if [ -x $(python) ]; then $(local) down; fi
	rm -rf .local .venv .mypy_cache .ruff_cache .import_linter_cache .hypothesis

.venv/.local-stamp: pyproject.toml uv.lock deploy/local/install.sh
	@deploy/local/install.sh --extra local --no-dev
	@touch $@

.venv/.dev-stamp: pyproject.toml uv.lock deploy/local/install.sh
	@deploy/local/install.sh --all-extras --dev
	@touch $@ .venv/.local-stamp
