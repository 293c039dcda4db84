# The two commands to know are `make demo` and `make test`. Each sets up an environment of its own in .venv and builds
# the compiled modules first. PYTHON chooses the interpreter (3.10 to 3.13), VENV the environment, RELEASE the LiteLLM in it.

# Supported is each release of LiteLLM for which there is a file of constraints; constraints.txt names the default one.
RELEASES := $(shell ls constraints | sed 's/\.txt$$//' | sort --version-sort)
RELEASE ?=
VENV ?= .venv$(addprefix -,$(RELEASE))
EXTRAS ?= dev
PYTEST_ARGS ?=
# Tests of one file share servers and what LiteLLM keeps for the process, and run in one of so many processes.
PROCESSES ?= 2
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$python -c 'import ensurepip, sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo $$python && break; done)

constraints := $(if $(RELEASE),constraints/$(RELEASE).txt,constraints.txt)
bin := $(VENV)/bin
pip := $(bin)/python -m pip --disable-pip-version-check
asv := $(bin)/asv machine --yes >/dev/null && $(bin)/asv
# The compiled modules are demanded, unless the caller asks for the twins alone.
wish := LITELLM_ACCEL_PURE=$${LITELLM_ACCEL_PURE:-0}
pytest := $(bin)/pytest --numprocesses $(PROCESSES) --dist loadfile
existing := --environment existing:$(abspath $(bin))/python

# Neither tests nor measurements ask the network for LiteLLM's price list.
export LITELLM_LOCAL_MODEL_COST_MAP := True

.PHONY: demo test redis test-compiled test-pure test-slow lint types docs bench bench-quick measure figures verify records constraints matrix mutants programs wheel build clean

demo: build
	$(bin)/litellm-accel demo

test: test-compiled test-pure

# Asks for nothing, and does nothing where it is there or may not be installed.
redis:
	@tools/install_redis.sh

test-compiled: build redis
	$(pytest) $(PYTEST_ARGS)

# Without the tests of builds, pages, the provider, the demo, the command line, workers, settings and operations, and the harness
# of verify: no hot module is in them; and without its scenarios. Tests that run over both implementations (their ids say "pure")
# have done so above.
COMPILED_ONLY := $(addprefix tests/unit/test_,$(addsuffix .py,packaging types docs bench matrix programs listings verify_records \
	verify_proxy background decline provider provider_profiles demo redis_store $(addprefix operation_,docs flags modes processes \
	profiler route settings statistics))) $(addprefix tests/differential/test_,$(addsuffix .py,cli demo face modes settings shadow \
	verify_harness verify_chat))

test-pure: build redis
	LITELLM_ACCEL_PURE=1 $(pytest) -k "not pure and not verify_finds_no_difference" $(PYTEST_ARGS) $(addprefix --ignore=,$(COMPILED_ONLY))

test-slow: build redis
	$(pytest) -m slow $(PYTEST_ARGS)

lint: build
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	PATH="$(abspath $(bin)):$$PATH" $(bin)/cython-lint litellm_accel  # it looks for pycodestyle there
	$(bin)/codespell

types: build
	$(bin)/mypy

# The documentation site, in site/; a warning is an error. Needs Python 3.11 or later.
docs: build
	$(bin)/sphinx-build --quiet --fail-on-warning --keep-going docs site

bench: build
	$(asv) run --show-stderr --launch-method=forkserver $(existing)

# What takes turns by itself, and minutes, is left to `bench`, as are stock, the twins, what others offer, and a thousand deployments.
bench-quick: build
	$(asv) check $(existing)
	$(asv) run --quick --dry-run --show-stderr --launch-method=forkserver --bench '^(?!.*(track_|pure|stock|gigatoken|, 1000))' $(existing)

# Measures anew what README and docs show, on a quiet machine, and fills it in.
measure: build
	$(bin)/litellm-accel demo --json >docs/figures/demo.json.new && mv docs/figures/demo.json.new docs/figures/demo.json
	$(bin)/litellm-accel bench chat streaming embeddings --json >docs/figures/bench.json.new && mv docs/figures/bench.json.new docs/figures/bench.json
	$(bin)/python -m benchmarks.table >docs/figures/counting.json.new && mv docs/figures/counting.json.new docs/figures/counting.json
	$(bin)/python tools/figures.py

# Fills README and docs with what is stored in docs/figures, and with the number of runs.
figures: build
	$(bin)/python tools/figures.py

verify: build
	$(bin)/litellm-accel verify

# The records that the wheel brings along, of this Python.
records: build
	$(bin)/litellm-accel verify --thorough --records litellm_accel/verify/records

# Resolves anew what is installed beside each supported release of LiteLLM, or beside ADD alone, supported from then on.
constraints: build
	@for release in $(or $(ADD),$(RELEASES)); do \
		echo "litellm==$$release" | $(bin)/uv pip compile --quiet --universal --python-version 3.10 --extra dev --no-header \
			--no-annotate pyproject.toml - >constraints/$$release.new || exit; \
		{ echo "# LiteLLM $$release and what is installed beside it; made by make constraints."; cat constraints/$$release.new; } \
			>constraints/$$release.txt; rm constraints/$$release.new; done

# Tests and verify on each supported release, or on those that MATRIX names; docs/compatibility.md tells of the results.
# MATRIX_ARGS passes options of tools/matrix.py.
matrix: build
	$(bin)/python tools/matrix.py $(MATRIX) $(MATRIX_ARGS)
	$(bin)/python tools/figures.py

# Accelerated and stock LiteLLM compared on changed copies of the installed one. MUTANTS names some of them, MUTANTS_ARGS passes
# options of tests/mutants.
mutants: build
	PYTHONPATH=tests $(bin)/python -m mutants $(MUTANTS_ARGS) $(MUTANTS)

# Real programs, each in an environment of its own under .cache/programs, on stock and accelerated LiteLLM.
# PROGRAMS names some of them, PROGRAMS_ARGS passes options of tests/programs/run.py.
programs: build
	$(bin)/python tests/programs/run.py $(PROGRAMS_ARGS) $(PROGRAMS)

wheel: build
	$(wish) PIP_CONSTRAINT=$(abspath $(constraints)) $(bin)/python -m build --outdir dist

# Compiles what has changed, in place; modules whose source is gone must not be tested.
build: $(VENV)/installed
	@for module in litellm_accel/_cy/*.so; do [ -e "$${module%%.*}.pyx" ] || rm -f "$$module"; done
	@$(wish) $(bin)/python setup.py --quiet build_ext --inplace

# Of the package the twins alone: `build` compiles.
$(VENV)/installed: $(constraints) $(wildcard constraints/*.txt) pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "make: no Python 3.10 to 3.13 with ensurepip found; name one with PYTHON=…" >&2; exit 1; }
	[ -x $(bin)/python ] || $(PYTHON) -m venv $(VENV)
	$(pip) install --quiet --constraint $(constraints) cython setuptools
	LITELLM_ACCEL_PURE=1 $(pip) install --quiet --constraint $(constraints) --no-build-isolation --editable '.[$(EXTRAS)]'
	touch $@

clean:
	rm -rf .venv build dist site *.egg-info .asv .hypothesis .pytest_cache .mypy_cache .ruff_cache
	rm -f litellm_accel/_cy/*.c litellm_accel/_cy/*.so
	find . -name __pycache__ -prune -exec rm -rf {} +
