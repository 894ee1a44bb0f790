# Boost.Python serves the system's own version of Python only, so that one is preferred to another on PATH.
version = $$($(1) -c 'import sys; print(sys.version_info[:2])' 2>/dev/null)
PYTHON ?= $(shell if [ -x /usr/bin/python3 ] && [ "$(call version,python3)" != "$(call version,/usr/bin/python3)" ]; \
	then echo /usr/bin/python3; else echo python3; fi)
VENV ?= .venv
RUN = $(VENV)/bin/python
# Python compiles what it imports, a tenth of what pip would compile.
PIP = $(RUN) -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
no_pip = { echo 'pip could not install what is needed (its reason stands above). Is the network there?' >&2; exit 1; }
# uv installs in a third of the time; `make UV=` does without.
UV ?= $(shell command -v uv)
no_uv = { echo 'uv could not install what is needed (its reason stands above): is the network there? Else: make UV=' >&2; exit 1; }
# Tests wait for processes and browsers a good part of the time.
JOBS ?= $$(($$(getconf _NPROCESSORS_ONLN) + 1))
# Bytecode is kept: each process of pytest would compile and rewrite all tests anew.
PYTEST = env -u PYTHONDONTWRITEBYTECODE OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(RUN) -m pytest --dist worksteal --instafail
# Files of seconds, which start no browser, cluster, training or long ascent.
QUICK = answers api ascent_parts check convert deploy engine_io engine_net engine_state engine_torch figures fork_limits \
	fork_training geometry gradient_support images imports labels netdef networks preprocess probe processes states surgery \
	syntax_errors tables tiling upgrade usage weights zoo
START := $(shell date +%s)
say = @seconds=$$(($$(date +%s) - $(START))); printf '[%d:%02d] %s\n' $$((seconds / 60)) $$((seconds % 60))

.PHONY: help demo test quick coverage mutation check caffe browser docs docs-pictures dist
help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST)

demo: $(VENV)/ready ## install what is needed, draw the pictures of the shipped network into out/; no compiler, no root
	$(say) "drawing"
	@$(RUN) scripts/demo.py

test: $(VENV)/dev caffe browser ## install everything, real Caffe included, and run every test
	$(say) "testing"
	@$(PYTEST) -n $(JOBS) --durations=10
	$(say) "tests done"

quick: $(VENV)/dev ## the tests of a minute, for work in between; what is not installed is skipped
	@$(PYTEST) -n $(JOBS) -m 'not slow' $(QUICK:%=tests/test_%.py)

coverage: $(VENV)/dev caffe browser ## every test, and which lines and branches they reach: out/coverage, out/covered.txt
	@mkdir -p out
	@$(PYTEST) -n $(JOBS) --cov --cov-context=test --cov-report=term-missing:skip-covered > out/covered.txt || { tail -20 out/covered.txt; exit 1; }
	@grep ^TOTAL out/covered.txt  # not coverage.txt, which coverage would erase with its data

mutation: $(VENV)/dev ## a sample of mutants of the core, after make coverage: which of them the tests notice
	@$(PIP) --group mutation || $(no_pip)
	@$(RUN) scripts/mutation.py

check: $(VENV)/dev ## ruff, ruff format, mypy
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

caffe: $(VENV)/ready ## build real Caffe once, install it into the environment
	$(say) "real Caffe"
	@$(RUN) scripts/install_caffe.py

browser: ## the Chromium that tests of pages need: installed where root and apt can, else said how
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends chromium; } \
		>/dev/null || echo 'Chromium could not be installed: tests of pages are skipped' >&2; \
	else echo 'no Chromium: tests of pages are skipped; on Debian: sudo apt-get install chromium' >&2; fi

docs: $(VENV)/dev ## make a site of docs/ and of the API's docstrings in out/site
	@$(RUN) -m sphinx -q -W --keep-going -c docs -d out/site.trees . out/site
	@echo out/site/docs/index.html

dist: $(VENV)-dist/ready ## make wheel and sdist in dist/, and check them
	@rm -rf dist && $(VENV)-dist/bin/python -m build --no-isolation
	@$(VENV)-dist/bin/python -m twine check --strict dist/*
	@$(VENV)-dist/bin/check-wheel-contents dist/*.whl

docs-pictures: $(VENV)/dev ## draw the pictures of README and docs/ anew, and run docs/tour.ipynb
	@OPENBLAS_NUM_THREADS=1 $(RUN) scripts/docs_pictures.py

# The stamp is the last thing written: an interrupted installation is done again.
$(VENV)/ready: pyproject.toml constraints.txt
	$(say) "installing into $(VENV)"
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 10) or sys.exit("caffe_viz needs Python 3.10 or later; \
	this is %d.%d: make PYTHON=/path/to/python3.11" % v[:2])'
	@[ ! -e $(VENV) ] || [ -e $(VENV)/pyvenv.cfg ] || { echo '$(VENV) is there but is no virtual environment:' \
	'move it away or name another, VENV=...' >&2; exit 1; }
ifneq ($(UV),)
	@{ $(UV) venv --quiet --clear --seed --python "$$(command -v $(PYTHON))" $(VENV) && \
	UV_FIND_LINKS="$${UV_FIND_LINKS-$$PIP_FIND_LINKS}" $(UV) pip install --quiet --python $(RUN) -c constraints.txt \
	--build-constraints constraints.txt -e ".[app,torch,report]"; } || $(no_uv)
else
	@$(PYTHON) -m venv --clear $(VENV) || { echo 'No environment could be made. On Debian and Ubuntu:' \
	'sudo apt-get install python3-venv' >&2; exit 1; }
	@{ $(PIP) --upgrade 'pip>=25.3' && $(PIP) --build-constraint constraints.txt -e ".[app,torch,report]"; } || $(no_pip)
endif
	@touch $@

# What tests and checks need beside it.
$(VENV)/dev: $(VENV)/ready
	@$(PIP) --group dev || $(no_pip)
	@$(PIP) --no-deps torch-lucent || $(no_pip) # its list is its developers': coveralls ..
	@touch $@

$(VENV)-dist/ready: pyproject.toml constraints.txt
	@$(PYTHON) -m venv --clear $(VENV)-dist
	@{ $(VENV)-dist/bin/python -m pip install --quiet 'pip>=25.3' && \
	$(VENV)-dist/bin/python -m pip install --quiet -c constraints.txt --group dist; } || $(no_pip)
	@touch $@
