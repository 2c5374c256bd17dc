# Each target sets up what it needs on a machine that has Python 3.11 or later, make and git.
# `make help` lists them; README.md and CONTRIBUTING.md say more.

# Where things are. Any of these can be given on the command line: make run DATA=/var/tmp/chat
VENV ?= .venv
DATA ?= encchat-data
CIPHER ?= rsa
NAME ?=
ARGS ?=
TESTS ?= tests
# Tests that run at once; many of them wait for a process, so one after the other takes half as long again.
JOBS ?= 2
BENCH ?= $(filter-out bench/_%,$(wildcard bench/*.py))
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --no-input
CODE = encchat twisted tests docs bench

.DEFAULT_GOAL = help
.PHONY: help run chat test check cover docs bench soak packages lock clean

help: ## this list
	@awk -F ': .*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "Given on the command line: NAME= DATA= CIPHER= ARGS= TESTS= JOBS= BENCH= PYTHON= VENV="

run: $(VENV)/.run ## the service on this machine (DATA=, CIPHER=, ARGS='more options')
	@$(BIN)/twistd -n --pidfile= encchat --cipher '$(CIPHER)' --data '$(DATA)' $(ARGS)

chat: $(VENV)/.run ## the client (NAME=alice, ARGS='HOST:PORT and options')
	@$(BIN)/encchat-client $(if $(NAME),--name '$(NAME)') $(ARGS)

test: $(VENV)/.dev ## all tests, or TESTS=tests.test_wire
	@$(BIN)/python -m tests.summary -j$(JOBS) $(TESTS)

check: $(VENV)/.dev ## lint, format, types, the direction of imports, and generated pages
	$(BIN)/python -m ruff check --quiet $(wildcard $(CODE))
	$(BIN)/python -m ruff format --quiet --check $(wildcard $(CODE))
	$(BIN)/python -m mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check
	$(PIP) check

cover: $(VENV)/.dev ## branch coverage, with a floor of 95 % for wire, core and ciphers
	@failed=0; \
	$(BIN)/python -m coverage run -m twisted.trial --reporter=text $(TESTS) || failed=1; \
	$(BIN)/python -m coverage report || failed=1; \
	for part in wire.py 'core/*' 'ciphers/*'; do \
		reached=$$($(BIN)/python -m coverage report --include="encchat/$$part" --format=total --precision=1 \
			--fail-under=95) && verdict=ok || { verdict='below 95 %'; failed=1; }; \
		echo "encchat/$$part: $${reached%%[!0-9.]*} % ($$verdict)"; \
	done; exit $$failed

docs: $(VENV)/.run ## write the generated parts of docs/ anew
	$(BIN)/python docs/generate.py

bench: $(VENV)/.dev ## the benchmarks, or BENCH=bench/rsa.py
	@set -e; for script in $(BENCH); do \
		echo "== $$script"; $(BIN)/python -m "$$(echo "$${script%.py}" | tr / .)"; done

soak: $(VENV)/.dev ## the tests with ENCCHAT_SOAK=1, which makes the long ones long
	@ENCCHAT_SOAK=1 $(BIN)/python -m tests.summary -j$(JOBS) $(TESTS)

packages: $(VENV)/.dev ## wheel, sdist and editable, each tried in a fresh environment
	@bash .ci/packages $(BIN)/python

lock: $(VENV)-lock/.made ## requirements/*.txt from *.in and pyproject.toml (ARGS=--upgrade for newer ones)
	@set -e; compile() { $(VENV)-lock/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 \
			--generate-hashes --no-emit-index-url --no-header $(ARGS) "$$@"; }; \
		compile requirements/lock.in -o requirements/lock.txt; \
		compile requirements/scan.in -o requirements/scan.txt; \
		compile pyproject.toml requirements/dev.in -o requirements/dev.txt; \
		compile pyproject.toml requirements/run.in -c requirements/dev.txt -o requirements/run.txt; \
		git --no-pager diff --stat -- requirements

clean: ## everything that was made here, but not the data of `make run`
	rm -rf $(VENV) $(VENV)-lock build dist *.egg-info .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache .coverage htmlcov _trial_temp* twisted/plugins/dropin.cache
	find encchat tests twisted docs bench -name __pycache__ -prune -exec rm -rf {} +

# The environments. A stamp says what is installed; it counts for the place that it was made in, as an
# environment cannot be moved.

ifneq ($(shell cat $(VENV)/.place 2>/dev/null),$(CURDIR))
.PHONY: $(VENV)/.place
endif

$(VENV)/.place:
	@$(call make_environment,$(VENV))
	@echo '$(CURDIR)' >$@

$(VENV)/.run: $(VENV)/.place requirements/run.txt pyproject.toml
	@echo 'Installing what encchat needs ...'
	@$(PIP) install -qq --require-hashes -r requirements/run.txt
	@$(PIP) install -qq --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@echo 'Installing what the tests and checks need ...'
	@$(PIP) install -qq --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)-lock/.made: requirements/lock.txt
	@$(call make_environment,$(VENV)-lock)
	@$(VENV)-lock/bin/python -m pip install -qq --require-hashes -r requirements/lock.txt
	@touch $@

define make_environment
if [ -z "$(PYTHON)" ]; then \
	echo 'encchat needs Python 3.11 or later. Install it, or name it: make PYTHON=/path/to/python3.11' >&2; exit 1; \
elif ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	echo '$(PYTHON) is not Python 3.11 or later. Name one that is: make PYTHON=/path/to/python3.11' >&2; exit 1; \
elif ! $(PYTHON) -c 'import ensurepip, ssl, venv'; then \
	echo "$(PYTHON) cannot make an environment. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; \
fi; \
echo 'Making an environment in $(1) with $(PYTHON) ...'; \
$(PYTHON) -m venv --clear $(1)
endef
