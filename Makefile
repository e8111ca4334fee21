# Everything a checkout can do. `make help` lists it. Needs Python >= 3.11 and nothing else.
PYTHON ?= python3
VENV   ?= .venv
# As `import partreid` does, also for programs that import PyTorch first: docs/performance.md, "Threads on a shared machine".
export GOMP_SPINCOUNT ?= 10000
BIN    := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check lint docs bench shipped release clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## search with the shipped model (seconds), then train it further (a minute)
	$(BIN)/partreid demo

test: $(VENV)/.installed-dev ## run the tests (minutes)
	$(BIN)/python -m tests

test-all: $(VENV)/.installed-dev ## run the slow tests too
	$(BIN)/python -m tests -m "slow or not slow" --hypothesis-profile=thorough

lint: $(VENV)/.installed-dev ## linter, format, types, import layers, .github
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

docs: $(VENV)/.installed-dev ## build the site into build/site; checks all its links
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

check: lint test ## lint + test: what must pass before a commit

bench: $(VENV)/.installed-dev ## measure; prints ratios taken in one run
	$(BIN)/python -m benchmarks

shipped: $(VENV)/.installed-dev ## render the shipped images again: ASSETS=folder PANORAMAS=folder
	$(BIN)/python -m partreid.datasets.synthetic.shipped "$(ASSETS)" "$(PANORAMAS)"

release: $(VENV)/.installed-dev ## build sdist and wheel into dist/, and try the wheel in an empty environment
	$(BIN)/python -m tests.release

clean: ## remove the environment and what runs left behind
	rm -rf $(VENV) build dist demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) -e ".[dev,docs,all]"
	# These ask for NumPy 1, Rich 14 and opencv-python, and run with what is there.
	$(INSTALL) --no-deps norfair deep-sort-realtime trackers
	touch $@
