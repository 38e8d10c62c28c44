# Two commands do all the set-up, on a machine that has Python 3.11+ and make: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := src tests example_fastapi example_django benchmarks
# Tools run in the project's own environment and fetch no interpreter.
export UV_PYTHON_DOWNLOADS := never
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo demo-django test lint bench picture format clean

help:
	@echo "make demo    a shop survives an outage of its services, live in the terminal"
	@echo "make demo-django    the same shop in Django, under gunicorn"
	@echo "make demo STORE=sqlite, or STORE=redis    its workers share their circuits, and are killed"
	@echo "make test    lint, types and tests, on Python 3.11 (or $(PYTHON)) and the newest installed one"
	@echo "make lint    ruff, mypy, pyright"
	@echo "make bench   the performance budgets, against other breakers in one run"

demo: $(VENV)/ready
	$(BIN)/recloser demo $(STORE:%=--store %) $(ARGS)

demo-django: $(VENV)/ready
	$(BIN)/recloser demo --app django $(STORE:%=--store %) $(ARGS)

test: $(VENV)/ready
	$(BIN)/coverage erase
	$(BIN)/python tools/side_by_side.py $(ARGS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --include='src/recloser/core/*' --fail-under=100

lint: $(VENV)/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright

bench: $(VENV)/ready
	$(BIN)/python -m benchmarks $(ARGS)

picture: $(VENV)/ready
	$(BIN)/python tests/status/picture.py docs

format: $(VENV)/ready
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

$(VENV)/ready: pyproject.toml tools/environment.py
	$(PYTHON) tools/environment.py $(VENV) --group dev --extra httpx --extra httpx2 --extra fastapi --extra django --extra demo --extra demo-django
	@touch $@

clean:
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* dist
