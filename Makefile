PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python

.PHONY: test check caffe
test: caffe ## install everything, real Caffe included, and run every test
	OPENBLAS_NUM_THREADS=1 $(RUN) -m pytest

check: $(VENV)/ready ## ruff, ruff format, mypy
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

caffe: $(VENV)/ready ## build real Caffe once, install it into $(VENV)
	$(RUN) scripts/install_caffe.py

# The stamp is the last thing written: an interrupted installation is done again.
$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(RUN) -m pip install --quiet -e . hypothesis mypy pytest ruff types-protobuf
	touch $@
