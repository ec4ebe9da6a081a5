# Each target sets up .venv when it is missing. PYTHON chooses the interpreter, 3.11 to 3.13.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
PYTEST := $(BIN)/python -m pytest
# Two processes of one thread each; who has none left takes half of the other's, in one piece, as neighbours share
# what is slow to make.
IN_TWO := -n 2 --dist worksteal
test test-wheel coverage: export OMP_NUM_THREADS := 1

.PHONY: demo test test-wheel test-slow coverage lint format fuzz bench release rehearse clean

$(READY): pyproject.toml constraints.txt
	@echo "installing into .venv, a minute or two"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

DEMO := reach push grasp pick_place drawer point_maze two_room
demo: $(READY)  ## every task with the released world models, on 10 held-out episodes each
	@for task in $(DEMO); do echo; echo "== $$task"; \
	$(BIN)/vjepa-wm evaluate --env $$task --episodes 10 --policies proposal_recovery random --out runs/demo/$$task || exit 1; done; \
	$(BIN)/vjepa-wm summarize $(addprefix runs/demo/,$(DEMO)) --out runs/demo

test: $(READY)  ## the suite, and what a wheel may lack against the built one
	@mkdir -p build; $(MAKE) --no-print-directory test-wheel > build/wheel.log 2>&1 & wheel=$$!; \
	$(PYTEST) $(IN_TWO) -m "not slow" --ignore tests/test_package.py --durations 10; suite=$$?; \
	wait $$wheel; wheel=$$?; cat build/wheel.log; exit $$((suite | wheel))

test-wheel: $(READY)  ## imports, command line, package data and released weights of the wheel, from another directory
	rm -rf build/site build/elsewhere build/lib build/bdist.* dist && mkdir -p build/site build/elsewhere
	$(BIN)/python -m pip wheel --quiet --no-deps --constraint constraints.txt --wheel-dir dist .
	$(BIN)/python -m pip install --quiet --no-deps --target build/site dist/*.whl
	cd build/elsewhere && PYTHONPATH=../site VJEPA_WM_SITE=$(CURDIR)/build/site ../../$(PYTEST) \
	  -c ../../pyproject.toml --rootdir ../../tests ../../tests/test_package.py -p no:cacheprovider

coverage: $(READY)  ## which lines and branches the suite reaches
	$(PYTEST) $(IN_TWO) -m "not slow" --cov --cov-report term

test-slow: $(READY)  ## all stages from nothing, and a run that is killed twenty times: about a quarter of an hour
	$(PYTEST) -m slow -s

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fuzz: $(READY)  ## 5,000 damaged files of each kind that is read, under limits of memory and time
	OMP_NUM_THREADS=1 $(BIN)/python scripts/fuzz.py

bench: $(READY)  ## speed, as ratios and rates measured side by side
	$(BIN)/python benchmarks/bench_env.py
	$(BIN)/python benchmarks/bench_collect.py
	$(BIN)/python benchmarks/bench_planning.py

release: $(READY)  ## make the released checkpoints again, hours on a CPU
	bash scripts/release_arm.sh && bash scripts/release_plane.sh

rehearse: $(READY)  ## the same with few episodes and steps, to see that every command runs; what is released is not touched
	$(BIN)/python scripts/rehearse_release.py

clean:
	rm -rf .venv build dist *.egg-info
