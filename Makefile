# `make demo` and `make test` need Python 3.11 or later with venv, make, and PyPI: the rest is set up in .venv.
#
#   make demo        the product, shown on transcripts of its own
#   make test        the test suite; PYTEST_ARGS="tests/engine -k codec" for a part of it
#   make check       formatting, lint, types, import contracts
#   make wheel-test  the suite against the built wheel, from another directory
#   make coverage    the suite under coverage, with the thresholds
#   make docs        the documentation as a site, in build/site; make docs-serve shows it while you write
#   make bench       the benchmarks; BENCH_ARGS=--quick for two minutes, see benchmarks/README.md
#   make fuzz        coverage-guided fuzzing; FUZZ_ARGS="log -max_total_time=600" names the target
#   make format      rewrite the code as `make check` wants it
#   make clean       remove everything that make made
#   make help        this text

.DELETE_ON_ERROR:
.DEFAULT_GOAL := test

export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The first of these that is really there, new enough and able to make a venv; PYTHON=… names another one.
PYTHON_CHECK := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python3.14 python; do \
	$$p -c '$(PYTHON_CHECK)' >/dev/null 2>&1 && echo $$p && break; done)

BIN := .venv/bin
PYTEST_ARGS ?=
BENCH_ARGS ?=
FUZZ_ARGS ?=
# One process for each core; PYTEST_WORKERS=0 runs everything in one, as a debugger wants it.
PYTEST_WORKERS ?= auto
# Material announces the end of MkDocs with every build.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs
PYTEST := $(BIN)/python -m pytest --numprocesses $(PYTEST_WORKERS) --dist worksteal

.PHONY: help demo test coverage coverage-report check format-check lint types pyright imports format wheel-test docs docs-serve bench fuzz clean

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

demo: .venv/.runtime
	$(BIN)/inmem demo

test: .venv/.dev
	$(PYTEST) $(PYTEST_ARGS)

# Measured from the first line of each pytest process on; tests/conftest.py sees to it that what tests start is not.
coverage: .venv/.dev
	$(BIN)/coverage erase
	COVERAGE_PROCESS_START='$(CURDIR)/pyproject.toml' $(PYTEST) $(PYTEST_ARGS)
	@$(MAKE) --no-print-directory coverage-report

# More than 90 % of everything, more than 95 % of the layers that decide what a commit is; lines and branches.
coverage-report: .venv/.dev
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=90.01
	$(BIN)/coverage report --include='engine/**/*,primitives/**/*' --fail-under=95.01

check: format-check lint types pyright imports

format-check: .venv/.dev
	$(BIN)/ruff format --check .

lint: .venv/.dev
	$(BIN)/ruff check .

types: .venv/.dev
	$(BIN)/mypy

pyright: .venv/.dev
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

imports: .venv/.dev
	$(BIN)/lint-imports --no-logo

format: .venv/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel-test: .venv/.dev
	.ci/wheel-test $(PYTEST_ARGS)

# Whatever its reader would stumble over is an error: a dead link, a page in no section, a public name without a word.
docs: .venv/.docs
	$(MKDOCS) build --strict --config-file docs/site/mkdocs.yml
	@echo 'built build/site/index.html'

docs-serve: .venv/.docs
	$(MKDOCS) serve --strict --config-file docs/site/mkdocs.yml

bench: .venv/.bench
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

fuzz: .venv/.fuzz
	$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

clean:
	rm -rf .venv build dist *.egg-info .coverage .coverage.* htmlcov
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A working .venv is kept, whatever Python it was made with: two interpreters in one venv would fit neither.
.venv/.runtime: pyproject.toml
	@if ! $(BIN)/python -c '$(PYTHON_CHECK)' 2>/dev/null; then \
		if [ -z '$(PYTHON)' ] || ! $(PYTHON) -c '$(PYTHON_CHECK)'; then \
			echo 'inmem needs Python 3.11 or later with the venv module' >&2; \
			echo '(Debian: apt install python3-venv; another interpreter: make PYTHON=/path/to/python3.11)' >&2; \
			exit 1; \
		fi; \
		$(PYTHON) -m venv --clear .venv; \
	fi
	@echo 'setting up .venv'
	@$(BIN)/python -m pip install -qq --upgrade 'pip>=25.1,<27'
	@$(BIN)/python -m pip install -qq --editable '.[cli]'
	@touch $@

.venv/.dev: .venv/.runtime
	@echo 'installing the development tools into .venv'
	@$(BIN)/python -m pip install -qq --group dev
	@touch $@

.venv/.docs: .venv/.runtime
	@echo 'installing what builds the documentation into .venv'
	@$(BIN)/python -m pip install -qq --group docs
	@touch $@

.venv/.bench: .venv/.runtime
	@echo 'installing the peers of the benchmarks into .venv'
	@$(BIN)/python -m pip install -qq --editable '.[cli,bench]'
	@touch $@

.venv/.fuzz: .venv/.dev
	@echo 'installing the fuzzer into .venv'
	@$(BIN)/python -m pip install -qq --group fuzz
	@touch $@
