# make demo   see costctl work, with a simulated engine and GPU; nothing is powered off
# make test   lint, types, contracts, tests: the gate
# make help   the other targets
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CATALOG := locales/zh/LC_MESSAGES/costctl

.DEFAULT_GOAL := help
.PHONY: help help-text demo test test-vllm check bench golden messages constraints clean

help:  ## Show the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

$(STAMP): pyproject.toml constraints.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'costctl needs Python 3.11 or newer: make PYTHON=python3.12 ...' >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'Installing pinned versions into $(VENV) (once) ...'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --requirement requirements-dev.txt --editable '.[demo,hosted,notify,postgresql,redis,report]'
	@touch $(STAMP)

demo: $(STAMP)  ## Run the main job from start to report.
	@$(BIN)/costctl demo

check: $(STAMP)  ## Lint, types and contracts.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check  ## The gate: check, then all tests with coverage.
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m 'not vllm'
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-vllm: $(STAMP)  ## The daemon against real vLLM on the CPU (makes its environment: minutes, 3.4 GB).
	COSTCTL_TEST_VLLM=$$($(PYTHON) tests/vllm_env/setup_vllm.py) && export COSTCTL_TEST_VLLM && $(BIN)/pytest -m vllm -v --timeout 600

bench: $(STAMP)  ## The front door beside nginx, haproxy and LiteLLM.
	$(BIN)/python benchmarks/frontdoor.py

help-text: $(STAMP)  ## Render the text of `costctl --help` anew.
	COLUMNS=80 $(BIN)/python -c 'from costctl.cli.root import cli; cli.main(["--help"], prog_name="costctl")' > costctl/cli/help.txt

golden: $(STAMP)  ## Write the golden reports anew; look at what changed.
	$(BIN)/python tests/reports/golden.py

messages: $(STAMP)  ## Gather what reports say for translation, and compile what is translated.
	@mkdir -p build
	$(BIN)/pybabel -q extract -F babel.cfg -k say -k count:1,2 --add-location file --sort-output -o build/costctl.pot costctl/reports
	$(BIN)/pybabel -q update -D costctl -l zh -i build/costctl.pot -o $(CATALOG).po --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date
	$(BIN)/pybabel -q compile -i $(CATALOG).po -o $(CATALOG).mo

constraints: $(STAMP)  ## Pin what is installed now.
	$(BIN)/python -m pip freeze --exclude-editable | grep -v ' @ ' > constraints.txt

clean:  ## Remove the environment and all caches.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* htmlcov dist build
