# Every target sets up what it needs: Debian packages by apt, a virtual environment in .venv, this package in it.
# It asks for sudo only to install packages and where network namespaces are made.

PYTHON ?= /usr/bin/python3
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
VENV := .venv
BIN := $(VENV)/bin

PACKAGES_RUN := python3 python3-venv charon-systemd libcharon-extra-plugins libcharon-extauth-plugins \
  libstrongswan-standard-plugins libstrongswan-extra-plugins iproute2 procps
PACKAGES_TEST := eapoltest faketime freeradius-utils openssl libwin-hivex-perl libseccomp2 postgresql radsecproxy systemd
PACKAGES_BENCH := eapoltest freeradius postgresql

FUZZ_SECONDS ?= 600

.DEFAULT_GOAL := help
.PHONY: help demo test soak fuzz check bench fmt clean requirements

help: ## Show this help
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## Build a private network, bring up both tunnels, deny, compare; KEEP=1 leaves it up
	@$(SUDO) env KEEP=$(KEEP) $(BIN)/evertunnel lab demo

test: $(VENV)/.test ## Run every test, with real strongSwan, eapol_test and OpenSSL; ARGS=tests/unit/pki for some
ifeq ($(strip $(ARGS)),)
	@$(SUDO) $(BIN)/python -m pytest --numprocesses=logical --dist=loadfile --ignore=tests/lab
	@echo "The lab, by itself: it measures milliseconds"
	@$(SUDO) $(BIN)/python -m pytest tests/lab
else
	@$(SUDO) $(BIN)/python -m pytest $(ARGS)
endif

soak: $(VENV)/.test ## Twenty times the races, kills and random policies of `make test`, at most 20 minutes
	@$(SUDO) env EVERTUNNEL_RACES=20000 EVERTUNNEL_KILLS=200 EVERTUNNEL_POLICY_SETS=100000 $(BIN)/python -m pytest -s \
	  tests/flows/test_races.py tests/interop/eap/test_deaths.py tests/unit/access/conditional/test_oracle.py

fuzz: $(VENV)/.fuzz ## Hostile bytes for every reader, guided by coverage; FUZZ_SECONDS=600 in all, ARGS=login for some
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(ARGS)

check: $(VENV)/.test ## Formatting, lint and types
	@$(BIN)/ruff format --check --quiet . || { echo "make fmt mends the formatting"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy

bench: $(VENV)/.bench ## Measure against FreeRADIUS, write docs/benchmarks.md; ARGS=methods prints one part
	@$(SUDO) $(BIN)/python -m bench $(ARGS)

fmt: $(VENV)/.test ## Format the code and mend what can be mended
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

clean: ## Remove what was built here; a lab that was kept is taken down first
	@if [ -x $(BIN)/evertunnel ]; then $(SUDO) $(BIN)/evertunnel lab down; fi
	@$(SUDO) rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz build dist
	@find . -name __pycache__ -type d -prune -exec $(SUDO) rm -rf {} +

requirements: $(VENV)/.test ## Resolve the three files of pinned dependencies anew
	@$(BIN)/pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --no-annotate --python-version 3.11 --no-header \
	  --all-extras --output-file constraints.txt pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --no-annotate --python-version 3.11 --no-header \
	  --all-extras --generate-hashes --output-file requirements-ci.txt pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --no-annotate --python-version 3.11 --no-header \
	  --generate-hashes --output-file requirements-fuzz.txt --group pyproject.toml:fuzz

# What is installed is remembered in .venv, so a second run is quick.
$(VENV)/.run: pyproject.toml constraints.txt
	@sh tools/install-packages $(PACKAGES_RUN)
	@echo "Making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[gateway]'
	@touch $@

$(VENV)/.test: $(VENV)/.run requirements-ci.txt
	@sh tools/install-packages $(PACKAGES_TEST)
	@echo "Installing the tools for tests, as pinned in requirements-ci.txt"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-ci.txt
	@touch $@

$(VENV)/.fuzz: $(VENV)/.test requirements-fuzz.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-fuzz.txt
	@touch $@

$(VENV)/.bench: $(VENV)/.run
	@sh tools/install-packages $(PACKAGES_BENCH)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[gateway,postgresql]'
	@touch $@
