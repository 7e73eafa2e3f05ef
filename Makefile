# Everything a user calls. `make demo` and `make test` do all of their own set-up.
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# Without compiled bytecode every Dagster command is about three times slower.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test drill check bench ui audit clean protos lock
.DEFAULT_GOAL := help

help:
	@echo "make demo   run the whole platform on a recorded market of the local chain"
	@echo "make test   run the tests          make check   format, lint, types, import rules"
	@echo "make ui     open Dagster           make drill   the long fault drills"
	@echo "make bench  measure                make setup   only install"
	@echo "make audit  known vulnerabilities of the locked packages (needs the network)"

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: call make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "python3 -m venv failed: install your system's python3-venv package, or call make PYTHON=/path/to/another/python"; exit 1; }
	@echo "installing the locked packages into .venv (once, a few minutes at most)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@echo "compiling the kernels (once, about a minute)"
	@$(BIN)/python -m ingest_worker.kernel
	@$(BIN)/python -c 'from executor.glance import Glancer; Glancer().warm()'
	@$(BIN)/python -m copytrader_core.replay.warm
	@touch $(STAMP)

demo: setup
	@$(BIN)/python -m copytrader_cli.demo

test: setup
	@$(BIN)/python -m pytest

drill: setup
	@$(BIN)/python -m pytest -m drill

check: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup
	@$(BIN)/python -m benchmarks

ui: setup
	@$(BIN)/copytrader ui

# Known vulnerabilities of what requirements.lock names. The only target that asks the network for more than packages, and
# an environment of its own, so that the auditor is no dependency of what it audits.
audit:
	@test -x .venv/audit/bin/pip-audit || { $(PYTHON) -m venv .venv/audit && .venv/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit; }
	@.venv/audit/bin/pip-audit --disable-pip --require-hashes --requirement requirements.lock

protos: setup
	@$(BIN)/python -m grpc_tools.protoc -Iprotos --python_out=copytrader_core/geyser --pyi_out=copytrader_core/geyser copytrader_geyser.proto

lock:
	uv pip compile --universal --generate-hashes --no-header --no-strip-extras --python-version 3.11 --group dev pyproject.toml -o requirements.lock

clean:
	@test ! -x $(BIN)/copytrader || $(BIN)/copytrader db stop
	@test ! -x $(BIN)/copytrader || COPYTRADER_HOME=.copytrader/demo $(BIN)/copytrader db stop
	rm -rf .venv .copytrader build dist
