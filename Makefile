# Everything a checkout can do. `make help` lists it. Needs Python >= 3.11 and nothing else.
PYTHON ?= python3
VENV   ?= .venv
# As `import partreid` does, also for programs that import PyTorch first: docs/performance.md, "Threads on a shared machine".
export GOMP_SPINCOUNT ?= 10000
BIN    := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check lint bench shipped clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## search with the shipped model (seconds), then train one (minutes)
	$(BIN)/partreid demo

test: $(VENV)/.installed-dev ## run the tests (minutes)
	$(BIN)/python -m tests

test-all: $(VENV)/.installed-dev ## run the slow tests too
	$(BIN)/python -m tests -m "slow or not slow" --hypothesis-profile=thorough

lint: $(VENV)/.installed-dev ## linter, format, types, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test ## lint + test: what must pass before a commit

bench: $(VENV)/.installed-dev ## measure; prints ratios taken in one run
	$(BIN)/python -m benchmarks

shipped: $(VENV)/.installed-dev ## render the shipped images again
	$(BIN)/python -m partreid.datasets.synthetic.shipped

clean: ## remove the environment and what runs left behind
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) -e ".[dev,all]"
	# These ask for NumPy 1, Rich 14 and opencv-python, and run with what is there.
	$(INSTALL) --no-deps norfair deep-sort-realtime trackers
	touch $@
