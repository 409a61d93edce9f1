# Everything runs in .venv, which the first target makes. PYTHON=python3.12 make test uses another interpreter.
PYTHON ?= python3
BIN := .venv/bin
# Two test processes on two cores must not fight for threads.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-slow check wheel study fuzz benchmarks clean
.DEFAULT_GOAL := test

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "neuromvm needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e '.[test]'
	touch $@

demo: .venv/installed  ## simulate -> NWB -> train MMVM and independent VAEs -> decode -> demo/run/report.html
	rm -rf demo
	$(BIN)/neuromvm simulate demo/data
	$(BIN)/neuromvm data describe simulated_rats --root demo/data
	$(BIN)/neuromvm run analysis/experiments/demo.yaml --set data.root=demo/data --out demo/run
	@echo "Open demo/run/report.html in a browser."

test: check wheel  ## all but the slow tests, types, style, layers, and the wheel
	$(BIN)/pytest -n 2 -m 'not slow' --durations=40 --doctest-modules neuromvm tests

test-slow: .venv/installed  ## the real recordings at full length, and every kill point
	$(BIN)/pytest -m slow

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

wheel: .venv/installed  ## build it and run it outside the clone
	$(BIN)/python tests/check_wheel.py

DATA ?= data
study: .venv/installed  ## renew docs/results from the recordings in $(DATA); hours, and a stopped study continues with the same command
	$(BIN)/python -m analysis --data $(DATA)

MINUTES ?= 60
SEED ?= 0
fuzz: .venv/installed  ## 10,000 damaged and hostile files, specs, arrays and run folders; inputs that went wrong in fuzz_findings
	$(BIN)/python -m tests.fuzz --n 10000 --seed $(SEED) --minutes $(MINUTES)

benchmarks: .venv/installed  ## ratios of times to other ways to do the same, some with optional packages: benchmarks/requirements.txt
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv dist build demo fuzz_findings
