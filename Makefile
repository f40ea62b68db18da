# The two commands for a newcomer are `make demo` and `make test`; both set everything up in .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := -p revbench.bench -p revbench.models -p revbench.reports -p revbench.docs.generator
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Suites whose exact bytes and operations the repository holds; complexity and timestep-scaling, of hundreds of cases,
# take a quarter of an hour and more, the others seconds.
TRACED := depth-scaling cifar event published-revsnn published-online ann-vs-snn imagenet ablation-timesteps complexity timestep-scaling

.PHONY: help demo test check gate docs traced benchmark clean

help:
	@echo "make demo       set up .venv and run: revbench run --suite depth-scaling --set models=msresnet,revsresnet (a few minutes, no GPU needed)"
	@echo "make test       set up .venv and run the whole test suite"
	@echo "make check      linter, formatter's check and type checker"
	@echo "make gate       revbench check: no training step of our own networks needs more memory than tests/baseline.json says"
	@echo "make docs       build the documentation into build/site, strictly"
	@echo "make traced     count the bytes in reports/measured/traced again, which README and documentation show"
	@echo "make benchmark  print the figures that the project promises, measured here"

demo: $(VENV)/installed
	$(BIN)/revbench run --suite depth-scaling --set models=msresnet,revsresnet

test: $(VENV)/installed-dev $(VENV)/browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=$(VENV)/typing $(BIN)/mypy $(PACKAGES)

gate: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/revbench check --baseline tests/baseline.json --strict

docs: $(VENV)/installed-dev
	PYTHONPATH=$(VENV)/typing $(BIN)/python -m revbench.docs.generator build/docs
	PYTHONPATH=$(VENV)/typing $(BIN)/zensical build --clean --strict

traced: $(VENV)/installed
	set -e; for suite in $(TRACED); do \
		$(BIN)/revbench run --suite $$suite --predict --fresh --out build/traced/$$suite --format png,md; \
	done; for suite in $(TRACED); do \
		mkdir -p reports/measured/traced/$$suite; \
		(cd build/traced/$$suite && cp environment.json $$suite.md $$suite*.csv $(CURDIR)/reports/measured/traced/$$suite); \
	done

benchmark: $(VENV)/installed
	$(BIN)/python -m revbench.bench.benchmarks.neuron
	$(BIN)/revbench run --suite cifar --out runs/gradients --fresh --device cpu --set passes=reversibility \
		--set models=revsresnet21,revsresnet37 --set dtype=float64,float32 --set batch_size=4
	$(BIN)/python -m revbench.bench.benchmarks.rules
	$(BIN)/python -m revbench.bench.benchmarks.models
	$(BIN)/python -m revbench.bench.benchmarks.counting
	$(BIN)/python -m revbench.bench.benchmarks.tracing
	$(BIN)/python -m revbench.bench.benchmarks.gate

clean:
	rm -rf $(VENV) build dist .cache *.egg-info

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'revbench needs Python 3.11 or newer: make PYTHON=python3.x')"
	$(PYTHON) -m venv $(VENV)
	@echo "installing torch and the rest into $(VENV); this takes a few minutes the first time"
	$(PIP) --editable .
	touch $@

# Pages are tested in a real browser; where none can be had, those tests are skipped and say so.
$(VENV)/browser: tests/helpers/install_browser.sh $(VENV)/installed-dev
	sh $< $(BIN)/playwright
	touch $@

# The type checker finds the package through a folder that holds a link to the root.
$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) --editable '.[dev]'
	mkdir -p $(VENV)/typing
	ln -sfn "$(CURDIR)" $(VENV)/typing/revbench
	touch $@
