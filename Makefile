# Everything below needs only Python >= 3.11, pip and make. `make demo` and `make test` are where to start.
#   make demo                     simulate counts with known dropouts, impute them, say how much came back
#   make demo DATA=counts.h5ad    the same on your own counts
#   make report DATA=counts.h5ad  can the imputed values be believed? A page with verdict, tests and pictures;
#                                 ARGS="--layer raw --min-genes 50" and what else gnnimpute impute takes
#   make test ARGS="-k graph"     some of the tests
#   make help                     all that can be made
PYTHON ?= python3
VENV ?= .venv
DATA ?=
ARGS ?=
# The versions to set up with: constraints-oldest.txt has the least that pyproject.toml allows.
CONSTRAINTS ?= constraints.txt
# Real data for `make paper`; without a folder it downloads what it can.
DATA_DIR ?= $(or $(GNNIMPUTE_DATA),$(wildcard ../shared/data))
# Threads that wait by spinning cost minutes where the cores are shared.
export OMP_WAIT_POLICY ?= PASSIVE

BIN := $(VENV)/bin
PY := $(BIN)/python
PIP := $(PY) -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint $(CONSTRAINTS)

.DEFAULT_GOAL := help
.PHONY: help demo report paper test lint format types docs wheel clean
.DELETE_ON_ERROR:

help: ## say what can be made
	@grep -hE '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

demo: $(VENV)/.installed ## impute counts whose truth is known, or those of DATA=file
	$(PY) examples/demo.py $(if $(DATA),"$(DATA)")

report: $(VENV)/.installed $(or $(DATA),report/pbmc.h5ad) ## can imputed values be believed? report/report.html on DATA=file, or on the paper's PBMC set
	@mkdir -p report
	$(BIN)/gnnimpute impute "$(or $(DATA),report/pbmc.h5ad)" report/imputed.h5ad --report report/report.html --overwrite $(ARGS)
	@echo "open report/report.html"

paper: $(VENV)/.paper ## every experiment of the paper, into results/paper; data of DATA_DIR=folder, ARGS= as run.py has
	$(PY) benchmarks/paper/run.py $(if $(DATA_DIR),--data "$(DATA_DIR)") --peers benchmarks/peers --out results/paper $(ARGS)

test: $(VENV)/.group-test ## run the tests, files side by side; ARGS= goes to pytest
	$(PY) -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile $(ARGS)

lint: $(VENV)/.group-lint ## find mistakes and unformatted code
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m codespell_lib --check-hidden .ci .github benchmarks docs examples src tests *.md *.toml Makefile

format: $(VENV)/.group-lint ## mend what lint can mend
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

types: $(VENV)/.group-lint ## check the types
	$(PY) -m mypy

docs: $(VENV)/.group-docs ## build the pages into docs/_build/html
	PATH="$(abspath $(BIN)):$$PATH" $(PY) -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo "open docs/_build/html/index.html"

wheel: $(VENV)/.installed ## build the package into dist
	rm -rf dist
	$(PIP) wheel --quiet --no-deps --wheel-dir dist .
	@ls dist

clean: ## remove all that was made here
	rm -rf $(VENV) build dist demo report docs/_build docs/generated .mypy_cache .pytest_cache .ruff_cache .hypothesis

report/pbmc.h5ad: | $(VENV)/.installed
	@mkdir -p report
	$(PY) -c "import gnnimpute as gi; gi.io.write(gi.datasets.pbmc(), '$@')"

$(VENV)/.created:
	@command -v "$(PYTHON)" >/dev/null || \
	  { echo "gnnimpute needs Python >= 3.11, but there is no $(PYTHON): make PYTHON=/path/to/python ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "gnnimpute needs Python >= 3.11, but $(PYTHON) is $$("$(PYTHON)" --version): make PYTHON=python3.12 ..." >&2; exit 1; }
	@# Some systems ship venv without pip: then the pip outside fills it.
	"$(PYTHON)" -m venv $(VENV) 2>/dev/null || { "$(PYTHON)" -m venv --clear --without-pip $(VENV) && \
	  "$(PYTHON)" -m pip --python $(PY) install --quiet pip; }
	$(PIP) install --quiet --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml $(CONSTRAINTS)
	$(INSTALL) --editable .
	@touch $@

# Leiden clusters are the one thing there that the package does not need itself.
$(VENV)/.paper: $(VENV)/.installed
	$(INSTALL) igraph
	@touch $@

$(VENV)/.group-%: $(VENV)/.installed
	$(INSTALL) --group $*
	@touch $@
