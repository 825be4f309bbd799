# The two commands to know: `make demo` and `make test`. Both set up .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up

.PHONY: setup demo demo-short suite-mini test test-slow test-suite test-suite-short test-docker lint \
  docs lock apptainer bench bench-pipelines submissions targets clean

setup: $(STAMP)

# Extras are spelt as the built metadata has them: older pips take no other spelling.
# PyTorch comes first and by its pin: a plain `torch` is gigabytes of CUDA on most indexes.
DATA_EXTRAS := digits,criteo1tb,fastmri,imagenet,wmt,ogbg,librispeech,finewebedu
OTHER_EXTRAS := submissions,compat,check,docker,report,test
$(STAMP): setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install -q -c constraints.txt -e '.[jax-cpu,pytorch-cpu,$(DATA_EXTRAS),$(OTHER_EXTRAS)]'
	touch $@

demo: setup
	$(BIN)/python competition.py --submissions=nadamw,schedule_free_adamw \
	  --suite=demo --frameworks=jax,pytorch --num_tuning_trials=1 \
	  --experiment_name=demo

demo-short: setup
	$(BIN)/python competition.py --submissions=nadamw,momentum --workloads=digits \
	  --num_tuning_trials=1 --experiment_name=demo-short

# All small workloads in both frameworks.
suite-mini: setup
	$(BIN)/python competition.py --submissions=nadamw --suite=mini \
	  --num_tuning_trials=1 --experiment_name=suite-mini

# Where no test measures time to less than a second, tests run side by side.
SIDE_BY_SIDE := $(addprefix tests/,compat containers data exploits frameworks \
  reference_submissions scoring workloads)
QUICK := $(BIN)/python -m pytest -m 'not slow and not suite and not docker'
test: setup
	OMP_NUM_THREADS=1 $(QUICK) -n auto --dist worksteal $(SIDE_BY_SIDE)
	$(QUICK) $(SIDE_BY_SIDE:%=--ignore=%)

test-slow: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'slow and not docker' -n auto --dist worksteal

# The small workloads tell good from bad: each to its target or to the end of its steps.
SHORT_SUITE := criteo1tb_mini or cifar_mini or ogbg_mini or wmt_mini or librispeech_conformer_mini
test-suite: setup
	$(BIN)/python -m pytest -m suite

test-suite-short: setup
	$(BIN)/python -m pytest -m suite -k '$(SHORT_SUITE)'

# Needs a Docker engine, or root to start one for the tests; see tests/engine_fixtures.py.
test-docker: setup
	$(BIN)/python -m pytest -m docker

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The pages that are made from data.
docs: setup
	JAX_PLATFORMS=cpu $(BIN)/python -m workloads.describe --markdown > docs/workloads.md.new
	mv docs/workloads.md.new docs/workloads.md
	$(BIN)/python tests/exploits/attack_table.py > docs/attacks.md.new
	mv docs/attacks.md.new docs/attacks.md

# What docker/requirements/ pins, with the wheels that pip's indexes offer here. The CPU builds of
# PyTorch are in an index of its own, which PIP_EXTRA_INDEX_URL can name.
LOCK_PYTHON := 3.11
LOCK_DEVICE := cpu
lock: setup
	$(BIN)/python -m finishline.containers.lock --python_version=$(LOCK_PYTHON) \
	  --devices=$(LOCK_DEVICE)

apptainer: setup
	$(BIN)/python -m finishline.containers.apptainer

bench: setup
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.scoring

bench-pipelines: setup
	$(BIN)/python -m benchmarks.pipelines --output=docs/pipelines.md

# The reference submissions on three small workloads of different kinds: hours. Two competitions,
# because those that tune themselves run by other rules.
SELF_TUNING := nadamw_sequential learning_rate_free
EXTERNAL := $(filter-out template $(SELF_TUNING),$(notdir $(wildcard reference_submissions/*)))
comma := ,
as_list = $(subst $() ,$(comma),$(strip $(1)))
COMPETE := $(BIN)/python competition.py --workloads=criteo1tb_mini,cifar_mini,fastmri_mini
submissions: setup
	$(COMPETE) --submissions=$(call as_list,$(EXTERNAL)) --num_tuning_trials=1 \
	  --experiment_name=submissions
	$(COMPETE) --submissions=$(call as_list,$(SELF_TUNING)) --tuning_ruleset=self \
	  --num_tuning_trials=1 --experiment_name=submissions-self
	$(BIN)/python -m benchmarks.submissions experiments/submissions experiments/submissions-self \
	  --output=docs/submissions.md

# Sets the targets of all small workloads anew; hours.
targets: setup
	$(BIN)/python -m finishline.target_setting --suite=mini --output_dir=docs/targets

clean:
	rm -rf $(VENV) data build *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
