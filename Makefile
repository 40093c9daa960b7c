# `make demo` plays a month end to end; `make test` proves it. Each sets up everything it needs.
.DEFAULT_GOAL := help
.PHONY: help setup bundle demo test fast faults fuzz mutants interop focus lint lock clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

help: ## what there is to make
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: $(STAMP) ## the environment in .venv, from the locked dependencies

$(STAMP): requirements.lock build.lock
	@test ! -L $(VENV) || { echo "$(VENV) is a link: setting it up would clear what others use; set it up there" >&2; exit 1; }
	@python=$$(sh .ci/find-python) && echo "setting up $(VENV) with $$python" && $$python -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r build.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --no-build-isolation -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## a generated month through the whole pipeline
	$(BIN)/clearbook demo

bundle: $(STAMP) ## the code directories that s.yaml deploys, checked
	$(BIN)/clearbook bundle

test: $(STAMP) lint ## everything that must hold
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

fast: $(STAMP) ## the tests that take seconds
	$(BIN)/python -m pytest tests/unit tests/property tests/golden

faults: $(STAMP) ## every call of each sort of delivery failed once, in every way (15 minutes; SINCE=1: thirty dates live, hours)
	$(BIN)/python -m tests.fault.stage --since $(or $(SINCE),30) --distinct --jobs 2

fuzz: $(STAMP) ## what reads bills, against bytes that nobody thought of (an hour; SECONDS=N of each target)
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),720)

mutants: $(STAMP) ## rules and rounding, changed in one small place after the other (ONE_IN=1: in every place)
	$(BIN)/python -m tests.mutation --one-in $(or $(ONE_IN),4)

interop: $(STAMP) ## the local cloud under independent clients (needs Node.js with npm)
	$(BIN)/python -m tests.interop.run

focus: $(STAMP) ## the FOCUS export of the demo month under the FinOps Foundation's validator (needs Python 3.12)
	$(BIN)/python -m tests.interop.focus

lint: $(STAMP) ## style, strict types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: $(STAMP) ## take newer dependencies into the lock files
	$(BIN)/python -m pip install -q uv
	printf 'setuptools>=80\nwheel>=0.45\n' | $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q - -o build.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q --extra dev --extra deploy pyproject.toml -o requirements.lock
	printf 'focus-validator==2.2.1\npyarrow<22\n' | $(BIN)/uv pip compile --universal --python-version 3.12 --generate-hashes --no-header --no-annotate -q - -o tests/interop/focus.lock

clean: ## remove what was built
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache *.egg-info
