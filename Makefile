# Each target prepares .venv by itself: the first time from the package index, later offline.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# The first Python on PATH that is new enough; make PYTHON=... overrides.
ifndef PYTHON
PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$p; break; fi; done)
endif
PY := .venv/bin/python
JOBS ?= 2

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## make .venv ready (every other target does this first)
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.11 or later is needed and none was found on PATH; name one: make PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi
	@$(PYTHON) scripts/setup_venv.py

.PHONY: check
check: setup types ## lint, format, types, architecture
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pytest -q tests/architecture

.PHONY: types
types: setup ## mypy, strict, on package, tests and scripts
	$(PY) -m mypy

.PHONY: test
test: setup ## every test but test-servers, then the branch coverage of core/ (must be 100 %)
	$(PY) -m pytest -n $(JOBS) --ignore=tests/realservers
	$(PY) -m pytest -q tests/unit/core -p no:cacheprovider \
		--cov=gitref_lock.core --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100

.PHONY: test-servers
test-servers: setup ## nginx, Apache, lighttpd, git daemon, OpenSSH, gitolite, JGit, dulwich (installed if root; leave out: GITREF_LOCK_SKIP_SERVERS=name,...)
	$(PY) -m pytest -n $(JOBS) --dist worksteal tests/realservers

.PHONY: servers-matrix
servers-matrix: setup ## measure those servers anew and rewrite the table in docs/reference/servers.md
	$(PY) scripts/servers-matrix

.PHONY: demo
demo: setup ## race 8 runners on one file over HTTP, and prove on the remote that all landed once
	@$(PY) scripts/demo

.PHONY: model
model: ## check the protocol's model with spin, its mutants too (Debian packages spin and gcc)
	scripts/check-model

.PHONY: constraints
constraints: setup ## renew constraints-dev.txt from the versions in .venv
	@{ sed -n '/^#/p' constraints-dev.txt; $(PY) -m pip freeze --exclude-editable --exclude gitref-lock; } > constraints-dev.new
	@mv constraints-dev.new constraints-dev.txt

.PHONY: bench
bench: setup ## measure beside the git command line and a pull-rebase loop; rewrite docs/performance.md
	$(PY) scripts/bench
	$(PY) scripts/race

.PHONY: bench-check
bench-check: setup ## measure single operations; fail when a ratio is over 25 % worse than in docs/performance.json
	$(PY) scripts/bench --check

.PHONY: bench-large
bench-large: setup ## measure a push in a repository of 50,000 files beside git
	$(PY) scripts/bench-large

.PHONY: simulate
simulate: setup ## replay one run in virtual time (SEED=, RUNNERS=, STEPS=), or run SEEDS= of them from FIRST= on
	@$(PY) scripts/simulate $(if $(SEED),--seed $(SEED)) $(if $(RUNNERS),--runners $(RUNNERS)) \
		$(if $(STEPS),--steps $(STEPS)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FIRST),--first $(FIRST))

.PHONY: torture
torture: setup ## kill real processes everywhere for MINUTES= (5) over HTTP and ssh (SEED=, TRANSPORT=http or ssh)
	@$(PY) scripts/torture $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
		$(if $(TRANSPORT),--transport $(TRANSPORT))

.PHONY: fuzz
fuzz: setup ## fuzz what reads other people's bytes: all targets in turns, or TARGET=, each for MINUTES=1
	@$(PY) scripts/fuzz $(if $(TARGET),--target $(TARGET)) $(if $(MINUTES),--minutes $(MINUTES))
