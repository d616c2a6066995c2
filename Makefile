# Two commands: `make demo` runs the main job against a simulator, `make test` runs every test.
# Each target installs what it needs into .venv from the hash-locked requirements, and nothing else is needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test bench crashtest second-opinion picture lint lock clean
.DELETE_ON_ERROR:

demo: $(VENV)/.run
	$(BIN)/harvester demo

# Three at a time on two cores: end-to-end tests wait for other processes most of the time. In the order in
# which they are collected: the longest files first.
test: $(VENV)/.test $(VENV)/.browser
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# Exports, and what is made of them, side by side with the SDK and other tools:
# `make bench ARGS="--quick --scenario singles --scenario coco"`.
bench: $(VENV)/.test
	$(BIN)/python -m benchmarks.suite $(ARGS)

# SIGKILL at random moments: the bytes must be those of a run that was never killed. `make crashtest
# VERB=sync KILLS=20`; verbs are export (the default), sync, sync-compressed, settle, retry-failed,
# s3 and compact.
crashtest: $(VENV)/.test
	$(BIN)/python -m tests.crash.crashtest $(if $(VERB),--verb $(VERB)) $(if $(KILLS),--kills $(KILLS))

# COCO data sets, compared with what the platform's own exporter makes of the same label rows. It needs numpy 1,
# and so an environment of its own.
second-opinion: $(VENV)/.test .second-opinion/.installed
	$(BIN)/python -m tests.second_opinion

.second-opinion/.installed: requirements/second-opinion.txt
	$(PYTHON) -m venv .second-opinion
	.second-opinion/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Draws the README's picture of a terminal anew: docs/export.svg.
picture: $(VENV)/.run
	$(BIN)/python -m benchmarks.picture

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

# The report's page is tested in a browser, and that is no Python package. It is installed where that is
# allowed; elsewhere its tests are skipped, and say so.
$(VENV)/.browser: | $(VENV)/bin/python
	@for browser in chromium chromium-browser google-chrome google-chrome-stable; do \
	  if command -v $$browser > /dev/null; then touch $@; exit 0; fi; \
	done; \
	as_root=$$(test "$$(id -u)" = 0 || echo sudo -n); \
	$$as_root true 2> /dev/null && command -v apt-get > /dev/null || exit 0; \
	echo "installing Chromium, which tests look at the report with"; \
	$$as_root apt-get -qq update && \
	$$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends \
	  chromium fonts-liberation > /dev/null && touch $@ || \
	echo "Chromium could not be installed: the tests that need it are skipped" >&2

# Locks every dependency with hashes and without index addresses. Needs `uv`.
lock:
	for extra in all:run test:test lint:lint; do \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --no-annotate --extra $${extra%%:*} pyproject.toml requirements/build.in -o requirements/$${extra##*:}.txt; \
	done
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --no-annotate requirements/second-opinion.in -o requirements/second-opinion.txt

clean:
	rm -rf $(VENV) .second-opinion demo-out
