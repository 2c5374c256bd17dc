# Each target sets up what it needs on a machine that has Python 3.11 or later, make and git.
# `make help` lists them; README.md and CONTRIBUTING.md say more.

# Where things are. Any of these can be given on the command line: make run DATA=/var/tmp/chat
VENV ?= .venv
DATA ?= encchat-data
CIPHER ?= rsa
NAME ?=
ARGS ?=
TESTS ?= tests
# Groups of tests that run at once, one more than cores: many of them wait for a process, or for the disk.
JOBS ?= 3
BENCH ?=
# A Python 3.11 or later; when it is not given, one is looked for.
PYTHON ?=
export PYTHON

BIN = $(VENV)/bin
CODE = encchat twisted tests docs bench

.DEFAULT_GOAL = help
.PHONY: help run chat certs test check cover docs screens see-it bench bench-peers soak scan packages lock clean for-run for-dev for-lock for-scan

help: ## this list
	@awk -F ': .*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "Given on the command line: NAME= DATA= CIPHER= ARGS= TESTS= JOBS= BENCH= PYTHON= VENV="

run: for-run ## the service on this machine (DATA=, CIPHER=, ARGS='more options')
	@$(BIN)/twistd -n --pidfile= encchat --cipher '$(CIPHER)' --data '$(DATA)' $(ARGS)

chat: for-run ## the client (NAME=alice, ARGS='HOST:PORT and options')
	@$(BIN)/encchat-client $(if $(NAME),--name '$(NAME)') $(ARGS)

certs: certs/server.pem certs/alice.pem certs/bob.pem ## certificates for this machine, in certs/; renews what is due
	@$(BIN)/encchat-admin ca renew --all-due

certs/ca.pem: | for-run
	@$(BIN)/encchat-admin ca init --name 'encchat development'

certs/server.pem: | certs/ca.pem
	@$(BIN)/encchat-admin ca server localhost 127.0.0.1 ::1

certs/%.pem: | certs/ca.pem # make certs/carol.pem makes a user of your own
	@$(BIN)/encchat-admin ca user '$*'

test: for-dev ## all tests, or TESTS=tests.test_wire
	@$(BIN)/python -m tests.summary -j$(JOBS) $(TESTS)

check: for-dev ## lint, format, types, the direction of imports, and generated pages
	$(BIN)/python -m ruff check --quiet --output-format concise $(wildcard $(CODE))
	$(BIN)/python -m ruff format --quiet --check $(wildcard $(CODE))
	$(BIN)/python -m mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m pip --disable-pip-version-check check

cover: for-dev ## branch coverage, with a floor of 95 % for wire, core and ciphers
	@failed=0; \
	$(BIN)/python -m coverage run -m twisted.trial --reporter=text $(TESTS) || failed=1; \
	$(BIN)/python -m coverage report || failed=1; \
	for part in wire.py 'core/*' 'ciphers/*'; do \
		reached=$$($(BIN)/python -m coverage report --include="encchat/$$part" --format=total --precision=1 \
			--fail-under=95) && verdict=ok || { verdict='below 95 %'; failed=1; }; \
		echo "encchat/$$part: $${reached%%[!0-9.]*} % ($$verdict)"; \
	done; exit $$failed

docs: for-run ## write the generated parts of docs/ anew
	$(BIN)/python docs/generate.py

see-it: for-run ## run the demonstration of docs/see-it.md, and write what it showed into the page
	$(BIN)/python docs/see_it.py

screens: for-dev ## docs/screen.svg, the picture of the README, from a real conversation
	@ENCCHAT_SCREENS=write $(BIN)/python -m twisted.trial --reporter=summary tests.process.test_screens.Picture

bench: for-dev ## all benchmarks, or BENCH=fanout,rsa; docs/performance.md says how to read them
	@$(BIN)/python -m bench $(if $(BENCH),--only '$(BENCH)') $(ARGS)

bench-peers: for-dev ## the same beside InspIRCd and ngIRCd, which it installs
	@sh bench/peers.sh
	@$(BIN)/python -m bench --peers $(if $(BENCH),--only '$(BENCH)') $(ARGS)

soak: for-dev ## the tests with ENCCHAT_SOAK=1, which makes the long ones long
	@ENCCHAT_SOAK=1 $(BIN)/python -m tests.summary -j$(JOBS) $(TESTS)

packages: for-dev ## wheel, sdist and editable, each tried in a fresh environment
	@bash .ci/packages $(BIN)/python

lock: for-lock ## requirements/*.txt from *.in and pyproject.toml (ARGS=--upgrade for newer ones)
	@set -e; compile() { $(VENV)-lock/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 \
			--generate-hashes --no-emit-index-url --no-header $(ARGS) "$$@"; }; \
		compile requirements/lock.in -o requirements/lock.txt; \
		compile requirements/scan.in -o requirements/scan.txt; \
		compile pyproject.toml requirements/dev.in -o requirements/dev.txt; \
		compile pyproject.toml requirements/run.in -c requirements/dev.txt -o requirements/run.txt; \
		git --no-pager diff --stat -- requirements

scan: for-dev for-scan ## sslyze, and testssl.sh where it is installed, judge the running service with tls
	@$(BIN)/python -m tests.scan --sslyze $(VENV)-scan/bin/sslyze

clean: ## everything that was made here, but not the data of `make run`
	rm -rf $(VENV) $(VENV)-lock $(VENV)-scan $(VENV).lock $(VENV)-lock.lock $(VENV)-scan.lock build dist *.egg-info .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache .coverage htmlcov _trial_temp* twisted/plugins/dropin.cache
	find encchat tests twisted docs bench -name __pycache__ -prune -exec rm -rf {} +

for-run for-dev:
	@sh requirements/install $(VENV) $(@:for-%=%)

for-lock for-scan:
	@sh requirements/install $(VENV)-$(@:for-%=%) $(@:for-%=%)
