# SPDX-License-Identifier: GPL-2.0-or-later
# Everything lives in .venv; nothing outside the checkout is touched.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
BUILT  := $(VENV)/.built
STAMP  := $(VENV)/.installed
# What the installed package is made of: a change in any of these rebuilds it.
INPUTS := pyproject.toml CMakeLists.txt $(wildcard docs/*.md) \
          $(shell find core src -type f -not -name '*.pyc' 2>/dev/null)

.PHONY: verify test thorough fuzz lint lowest golden benchmark clean

verify: $(BUILT)
	@$(BIN)/l1dflush verify linux-4.9.120

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist worksteal

# The same tests with more examples of each kind, which takes about twice as long.
thorough: $(STAMP)
	L1DFLUSH_THOROUGH=1 $(BIN)/python -m pytest -n auto --dist worksteal

# Damaged inputs, many and new ones each time; what fails says its seed. FUZZ_INPUTS and FUZZ_SEED choose others.
FUZZ_INPUTS ?= 100000
FUZZ_SEED   ?= $(shell od -An -N3 -tu4 /dev/urandom | tr -d ' ')
fuzz: $(STAMP)
	L1DFLUSH_FUZZ_INPUTS=$(FUZZ_INPUTS) L1DFLUSH_FUZZ_SEED=$(FUZZ_SEED) \
	    $(BIN)/python -m pytest -n auto --dist load tests/fuzz

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What each dependency is used for, with the lowest versions that pyproject.toml allows. (Schemas are not: pydantic
# words their descriptions in one way or another.)
LOWEST := .venv-lowest
lowest: $(STAMP)
	rm -rf $(LOWEST)
	$(BIN)/python -m venv $(LOWEST)
	$(BIN)/python .ci/lowest.py > $(LOWEST)/requirements.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -r $(LOWEST)/requirements.txt
	cp -r $(VENV)/lib/python*/site-packages/l1dflush* $(LOWEST)/lib/python*/site-packages/
	$(LOWEST)/bin/python -m pytest -q -n auto tests/golden/test_golden.py tests/golden/test_readme.py tests/integration/test_cli.py \
	    tests/integration/test_completion.py tests/integration/test_help_command.py tests/unit/test_c_source.py \
	    tests/unit/test_compressed.py tests/unit/test_object_file.py tests/unit/test_patch.py \
	    tests/unit/test_possible.py tests/quality/test_odd_instructions.py

# Rewrites the expected texts in tests/golden; read the diff before committing it.
golden: $(STAMP)
	$(BIN)/python -m pytest tests/golden --refresh-golden

benchmark: $(STAMP)
	$(BIN)/python -m pytest benchmarks -q --benchmark-columns=min,median,max

clean:
	rm -rf $(VENV) $(LOWEST) build

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(BUILT): $(VENV)/bin/python $(INPUTS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check .
	@touch $@

# What the tests need besides; the package itself is there and is not built again.
$(STAMP): $(BUILT)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'l1dflush[dev]'
	@touch $@
