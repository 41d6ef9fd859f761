# Each line is a command a user could type; .venv is made once and renewed when the pins change.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

RULES := Snakefile $(wildcard workflow/rules/*.smk)
CODE := src tests setup.py $(wildcard benchmarks docs/*.py)

.PHONY: install demo test test-slurm lint format docs bench torture clean

install: .venv/installed

# Another Python, named with PYTHON=, makes the environment anew.
ifneq ($(origin PYTHON),file)
ifneq ($(shell $(PYTHON) -V 2>&1),$(shell $(BIN)/python -V 2>&1))
ANEW := yes
.PHONY: .venv/installed
endif
endif
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 install")
KEEP := test -z "$(ANEW)" && $(BIN)/python -c '$(NEW_ENOUGH)' 2> /dev/null

.venv/installed: pyproject.toml constraints.txt
	@$(KEEP) || $(PYTHON) -c '$(NEW_ENOUGH)'
	$(KEEP) || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip setuptools wheel
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	snakemake --cores all --directory demo reproduce_tables --quiet host reason
	@echo "The report of the demo: $(CURDIR)/demo/reports/report.pdf"

test: install
	pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

# Starts a SLURM of its own, as root; skipped with the reason where it cannot.
test-slurm: install
	pytest -m slurm $(ONLY)

lint: install
	ruff format --check $(CODE)
	ruff check $(CODE)
	mypy --strict src
	snakefmt --check --line-length 100 $(RULES)
	pytest --quiet tests/workspace/test_workflow.py --no-header -k snakemake_lint
	@! command -v hadolint > /dev/null || hadolint Dockerfile

format: install
	ruff format $(CODE)
	ruff check --fix $(CODE)
	snakefmt --line-length 100 $(RULES)

# build/docs/index.html; a warning is an error.
docs: install
	COLUMNS=100 sphinx-build -W --keep-going --quiet --builder html docs build/docs
	@echo "The documentation: $(CURDIR)/build/docs/index.html"

bench: install
	python -m benchmarks

# Kills, damage and mistakes, seeded: minutes. Hours: make torture OPTIONS=--full; see docs/reliability.md.
torture: install
	python -m tests.torture $(OPTIONS)

clean:
	rm -rf demo/data demo/results demo/reports demo/.snakemake
