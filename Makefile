# Two commands set everything up: `make tour` and `make test`. See README.md.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# One worker a core; what belongs together, a file or a notebook, stays together.
PYTEST := KIT_FAST=1 $(BIN)/python -m pytest -p tests.cores -n auto --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help tour lab workshop chromium test notebooks bench lint clean

help: ## List the targets.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

$(VENV)/core: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "maaskit needs Python 3.11 or newer; call: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Cannot create $(VENV): on Debian and Ubuntu run: apt-get install python3-venv"; exit 1; }
	@echo "Installing the core into $(VENV) (about 1.3 GB, once) ..."
	@$(PIP) -e '.[search,formats]' # the lessons on search and on formats need them
	@touch $@

$(VENV)/test: $(VENV)/core
	@echo "Installing the test tools, the service, OpenVINO and TensorFlow (another 1.6 GB) ..."
	@$(PIP) -e '.[test,tensorflow,serve,search,openvino,formats]'
	@touch $@

$(VENV)/bench: $(VENV)/test
	@echo "Installing the frameworks to compare with ..."
	@$(PIP) -e '.[bench]'
	@touch $@

tour: $(VENV)/core ## One model the whole way on real data: a table, a report, model folders.
	@$(BIN)/python -m kit tour

lab: $(VENV)/core ## Open JupyterLab on the lessons.
	@$(BIN)/python -m kit lab

workshop: $(VENV)/core ## Student and instructor editions and a schedule; runs every lesson to prove it.
	@$(BIN)/python -m kit workshop

chromium: $(VENV)/test ## Find the browser for the browser tests, or install it.
	@$(BIN)/python tests/browser/chromium.py

test: $(VENV)/test chromium ## Lint, types, tests, and every notebook with its exercises.
	@$(BIN)/ruff check . && $(BIN)/ruff format --check kit tests
	@$(BIN)/mypy
	@$(PYTEST) tests
	@$(BIN)/python tests/notebooks/proof.py runs/proof
	@$(PYTEST) -p no:cacheprovider --nbval --nbval-current-env --nbval-cell-timeout=300 --nbval-sanitize-with tests/notebooks/sanitize.cfg runs/proof

notebooks: $(VENV)/test ## Re-execute every notebook in fast mode and normalise it in place.
	@KIT_FAST=1 $(BIN)/python tests/notebooks/execute.py notebooks/*.ipynb

bench: $(VENV)/bench ## Print the figures that the documentation quotes.
	@for script in tests/benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

lint: $(VENV)/test ## Fix what can be fixed, then show the rest.
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format kit tests ; $(BIN)/mypy

clean: ## Remove the environment and what runs have written.
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache
