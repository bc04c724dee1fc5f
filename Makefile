# Each target sets up what it needs; `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test test-slow lint bench bench-accuracy
# Recipes of one `make -j` may run side by side; the set-up is a file, so it runs once and before all of them.

BIN := .venv/bin
READY := .venv/.ready
# Another interpreter: make setup PYTHON=/path/to/python3.12
PYTHON ?=
# Processes of the tests; each takes about 500 MB. A module stays in one process, since its fixtures may take minutes.
WORKERS ?= auto
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist loadscope --no-loadscope-reorder \
	--durations=25 --durations-min=5
# Seconds after which no further slow test is begun; none where empty. Those are named at the end.
SECONDS_LEFT ?=

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## Make .venv with everything in it (the other targets do this by themselves)

demo: $(READY) ## Load a made-up world from simulated Jotform and Givebutter, export, and print a report
	$(BIN)/mentor-pipeline demo

dev: $(READY) ## Open Dagster's UI on the demo's data, with simulator, schedules and sensors on
	$(BIN)/mentor-pipeline dev

test: lint ## Lint, types and the fast tests
	$(PYTEST)

test-slow: $(READY) ## The slow tests: kill tests in number, fuzzing, scale
	@$(PYTEST) -m slow $(if $(SECONDS_LEFT),--begin-within $(SECONDS_LEFT) --no-fold-skipped); code=$$?; \
	if [ $$code -eq 5 ]; then echo "make test-slow: no test is marked as slow, so nothing was tested."; \
	else exit $$code; fi

lint: $(READY) ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY) ## Measure speed and memory beside baselines; BENCH=--quick for a look that it works
	$(BIN)/python -m bench $(BENCH)

bench-accuracy: $(READY) ## Measure how often matching is right, on made-up worlds and on a public data set
	$(BIN)/python -m bench.accuracy

# Installed again only when the dependencies changed. Hashes are checked; the package itself is linked, not copied.
$(READY): requirements.lock pyproject.toml
	@fits='import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'; \
	if ! $(BIN)/python -c "$$fits" 2>/dev/null || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		for python in $(PYTHON) python3.14 python3.13 python3.12 python3.11 python3 none; do \
			if "$$python" -c "$$fits" 2>/dev/null; then break; fi; \
		done; \
		if [ "$$python" = none ]; then \
			echo "Python 3.11 or newer, with its venv module, was not found: nothing was installed." >&2; \
			echo "Install it (Debian, Ubuntu: apt install python3-venv; macOS: brew install python), or name one:" >&2; \
			echo "  make setup PYTHON=/path/to/python3" >&2; \
			exit 1; \
		fi; \
		echo "Making .venv with $$("$$python" --version)"; \
		"$$python" -m venv --clear .venv || exit 1; \
	fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
