# make demo    train and test on synthetic speakers, from nothing to an equal error rate in a few minutes
# make test    all tests, on all cores (JOBS=1 make test: on one)
# make check   style, types, shell scripts
# make bench   side by side with other programs
#
# Each sets itself up: a virtual environment in .venv with the versions of requirements.txt.
# PYTHON=python3.12 make demo chooses the interpreter.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
JOBS ?= auto
TOOLS := utils/run_job utils/fetch_archive utils/make_codec_copies utils/make_noise utils/prepare_noise

.PHONY: help demo test check bench clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

demo: $(VENV)/.has-synthetic
	cd egs/synthetic/v1 && ./run.sh
	@echo
	@echo "Where to look next: egs/synthetic/v1/exp/ge2e/report.html shows what came of it, in a browser;"
	@echo "egs/synthetic/v1/run.sh is what has just run; egs/an4/v1 and egs/speech_commands/v1 do the same with real speech;"
	@echo "README.md, with your own."

test: $(VENV)/.has-dev
	OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses $(JOBS) --dist worksteal

check: $(VENV)/.has-dev
	$(RUN) -m ruff check . $(TOOLS)
	$(RUN) -m ruff format --check . $(TOOLS)
	$(RUN) -m mypy
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" shellcheck path.sh .ci/run utils/*.sh egs/*/*/*.sh

bench: $(VENV)/.has-bench
	$(RUN) -m pip install --disable-pip-version-check --quiet --no-deps Resemblyzer # its webrtcvad no longer installs; ours serves it
	for script in $(filter-out benchmarks/common.py,$(wildcard benchmarks/*.py)); do $(RUN) $$script || exit 1; done

clean:
	rm -rf $(VENV) egs/*/*/data egs/*/*/exp

# The extras of setup.py, installed once until it or the pinned versions change.
$(VENV)/.has-%: setup.py requirements.txt | $(RUN)
	$(RUN) -m pip install --disable-pip-version-check --quiet --constraint requirements.txt --editable '.[$*]'
	@touch $@

$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or later is needed; PYTHON=python3.12 make ... chooses another"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV) || $(PYTHON) -m virtualenv $(VENV) || \
	  { rm -rf $(VENV); echo "no virtual environment: 'apt install python3-venv' or '$(PYTHON) -m pip install --user virtualenv', then run make again"; exit 1; }
