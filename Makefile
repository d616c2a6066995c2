# Two commands: `make demo` runs the main job against a simulator, `make test` runs every test.
# Each installs what it needs into .venv from the hash-locked requirements, and nothing else is needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test lint lock clean
.DELETE_ON_ERROR:

demo: $(VENV)/.run
	$(BIN)/harvester demo

# Three at a time on two cores: end-to-end tests wait for other processes most of the time.
test: $(VENV)/.test
	$(BIN)/python -m pytest -n 3 --dist loadfile

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.%: requirements/%.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Locks every dependency with hashes and without index addresses. Needs `uv`.
lock:
	for extra in simulator:run test:test lint:lint; do \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --no-annotate --extra $${extra%%:*} pyproject.toml requirements/build.in -o requirements/$${extra##*:}.txt; \
	done

clean:
	rm -rf $(VENV) demo-out
