# Everything a contributor types. Needs Python 3.11 or newer, make and a package index.
#
#   make demo    capture and replay on this machine, in under 20 seconds
#   make test    the test suite
#   make test-compiled   the same, over the modules that a wheel holds compiled
#   make check   format, lint, types, import layers, Dockerfile, CloudFormation, documentation
#   make faults  kill, fill, stop and cut everything, and account for each request (some minutes)
#   make behind-traefik  hurt a mirror behind real Traefik and Consul, under load (some minutes)
#   make fuzz    random bytes for FUZZ_SECONDS (60) through whatever reads what others wrote
#   make bench   the benchmarks (some minutes); BENCHFLAGS=--full for all, --publish to write them down
#   make lambda  the zip of the two Lambda functions; LAMBDA_PYTHON=3.13 LAMBDA_MACHINE=aarch64 LAMBDA_RULES=file
#   make conformance   the raw-byte tables, here and through nginx, HAProxy and Traefik
#
# PYTHON=python3.13 chooses the interpreter, VENV=dir the virtual environment.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Two workers by default; TESTS=tests/cli or TESTFLAGS=-x narrow a run.
TESTS ?= tests
TESTFLAGS ?= -n 2
FUZZ_SECONDS ?= 60
MINUTES ?= 10
LAMBDA_PYTHON ?= 3.13
# aarch64 is what Lambda calls arm64; x86_64 the other.
LAMBDA_MACHINE ?= aarch64
# What `pip install .` makes, without installing it: an editable installation is not compiled.
# PYTHONSAFEPATH keeps `python -m mirrorproxy` from taking the sources where it is started.
COMPILED := .cache/compiled

.PHONY: demo test test-compiled check faults behind-traefik chaos fuzz bench conformance lambda format clean
.DEFAULT_GOAL := test

demo: $(VENV)/.run-installed
	@$(BIN)/mirrorproxy demo

test: $(VENV)/.dev-installed
	@$(BIN)/python -m pytest $(TESTFLAGS) $(TESTS)

test-compiled: $(COMPILED)/.built
	@EXPECT_COMPILED=1 PYTHONSAFEPATH=1 PYTHONPATH=$(abspath $(COMPILED)) $(BIN)/python -m pytest $(TESTFLAGS) $(TESTS)

check: $(VENV)/.dev-installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/hadolint Dockerfile
	$(BIN)/cfn-lint aws/*.yaml
	$(BIN)/python -m pytest -q tests/docs/test_links.py tests/tools

faults: $(VENV)/.dev-installed
	@$(BIN)/python -m pytest --all-faults --faults-page docs/faults.md tests/faults

behind-traefik: $(VENV)/.dev-installed
	@$(BIN)/python tests/whole/behind_traefik.py --write docs/behind-traefik.md

chaos: $(VENV)/.dev-installed
	@$(BIN)/python tests/aws/chaos.py $(MINUTES)

fuzz: $(VENV)/.fuzz-installed
	@$(BIN)/python tests/fuzz/fuzzing.py $(FUZZ_SECONDS)

bench: $(COMPILED)/.built .cache/mitmproxy/.installed
	@PYTHONSAFEPATH=1 PYTHONPATH=$(abspath $(COMPILED)):$(abspath benchmarks) $(BIN)/python benchmarks/run.py $(BENCHFLAGS)

conformance: $(VENV)/.dev-installed
	@$(BIN)/python tests/wire/compare_proxies.py --write docs/conformance.md

lambda: | $(BIN)/python
	@$(BIN)/python aws/package_lambda.py --python $(LAMBDA_PYTHON) --machine $(LAMBDA_MACHINE) \
		$(if $(LAMBDA_RULES),--rules $(LAMBDA_RULES)) --output dist/mirrorproxy-lambda.zip

format: $(VENV)/.dev-installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# A peer in the benchmarks, apart because it pins what we use in other versions. Without it they
# run too, and say so.
.cache/mitmproxy/.installed: | $(BIN)/python
	@echo "installing mitmproxy into .cache/mitmproxy"
	@$(BIN)/python -m venv .cache/mitmproxy && \
		.cache/mitmproxy/bin/python -m pip install --quiet --disable-pip-version-check mitmproxy && \
		touch $@ || echo "mitmproxy could not be installed: it will not be measured" >&2

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "mirrorproxy needs Python 3.11 or newer: make PYTHON=python3.13 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "no virtual environment could be made (Debian: apt install python3-venv)" >&2; exit 1; }

# The stamps are older than a changed pyproject.toml: dependencies follow it.
$(VENV)/.run-installed: pyproject.toml | $(BIN)/python
	@echo "installing mirrorproxy into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev-installed: pyproject.toml | $(BIN)/python
	@echo "installing mirrorproxy and its tools into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,dev]'
	@touch $@ $(VENV)/.run-installed

$(COMPILED)/.built: setup.py $(shell find mirrorproxy -name '*.py') | $(VENV)/.dev-installed
	@echo "compiling into $(COMPILED) (some minutes)"
	@rm -rf $(COMPILED) && mkdir -p .cache
	@MIRRORPROXY_COMPILE=1 $(BIN)/python setup.py -q build --build-base .cache/build \
		--build-lib $(COMPILED) >.cache/compile.log 2>&1 || { cat .cache/compile.log >&2; exit 1; }
	@touch $@

# Without it `make fuzz` says so, and fails in CI.
$(VENV)/.fuzz-installed: $(VENV)/.dev-installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]' && touch $@ || \
		echo "atheris could not be installed" >&2
