# Each target makes .venv by itself; a clean clone needs only Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test check bench bench-own bench-save bench-compare bench-kernels bench-quick bench-once bench-history real-check gpu-check gpu-options clean
demo: .venv/.cpu
	$(BIN)/clipfast demo

test: .venv/.test
	$(BIN)/python -m pytest
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -q tests/kernels tests/metrics

check: .venv/.test .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# ours beside PyTorch, ONNX Runtime, OpenVINO, FAISS, anomalib and others, each in its best setting: waits for a quiet
# machine, refuses to store what was measured on a loaded one, about an hour and a half; writes benchmarks/results/*.json,
# the documents' tables and the plot
bench: .venv/.bench
	$(BIN)/python -W ignore -m benchmarks.engine --keep .bench
	$(BIN)/python -W ignore -m benchmarks.search
	$(BIN)/python -W ignore -m benchmarks.kernels
	$(BIN)/python -m pytest -q benchmarks --benchmark-only --benchmark-json=.bench/own.json
	$(BIN)/python benchmarks/render.py .bench/own.json

# figures of this machine alone, without peers
bench-own: .venv/.test
	$(BIN)/python -m pytest benchmarks --benchmark-only --benchmark-columns=min,median,iqr,rounds

# every benchmark once, for its answers and not for time: what CI runs
bench-once: .venv/.test
	$(BIN)/python -m pytest -q benchmarks --benchmark-disable
	$(BIN)/python -W ignore -m benchmarks.search --tiny

bench-save: .venv/.test
	$(BIN)/python -m pytest benchmarks --benchmark-only --benchmark-autosave

bench-compare: .venv/.test
	$(BIN)/python -m pytest benchmarks --benchmark-only --benchmark-compare --benchmark-compare-fail=min:25%

# ours beside the libraries people use; writes benchmarks/results/kernels.json and benchmarks/README.md
bench-kernels: .venv/.bench
	$(BIN)/python -W ignore -m benchmarks.kernels

# the same for the smallest models and sizes, whatever the load, in less than five minutes; saves nothing
bench-quick: .venv/.bench
	$(BIN)/python -W ignore -m benchmarks.engine --keep .bench --models ViT-B-32 --try embed- together- jpeg- query-
	$(BIN)/python -W ignore -m benchmarks.search --tiny

# is anything slower than in the run before?
bench-history: .venv/.test
	$(BIN)/python -m benchmarks.history

# on a machine with real weights: make real-check CKPT=ViT-B-32.safetensors
real-check: .venv/.test
	$(BIN)/python -m clipfast.export.real_check $(CKPT)

# on a machine with a GPU: installs the GPU wheels into .venv-gpu, then the tests marked gpu, parity, node assignment and
# speed of B/32, B/16, L/14; writes gpu-check.md. Without a driver it says so, installs nothing and fails
gpu-check:
	@$(PYTHON) -c 'import ctypes; ctypes.CDLL("libcuda.so.1")' 2>/dev/null || { \
	  echo "gpu-check: not yet run on a GPU. This machine has no NVIDIA driver (libcuda.so.1 does not load);" \
	    "nothing was installed or checked." >&2; exit 2; }
	@$(MAKE) --no-print-directory .venv-gpu/.check
	.venv-gpu/bin/python -m pytest -m gpu tests
	.venv-gpu/bin/python -m clipfast.export.gpu_check $(GPU_CHECK)

# the option names that an onnxruntime-gpu wheel knows, read from its libraries in an environment of its own, and its tests
gpu-options: .venv-gpu/.wheel
	.venv-gpu/bin/python -m clipfast.export.gpu_options .venv-gpu/wheel/onnxruntime_gpu-*.whl
	.venv-gpu/bin/python -m pytest -m gpuwheel tests/runtime/test_provider_options.py

clean:
	rm -rf .venv .venv-gpu .bench demo dist .pytest_cache .mypy_cache .ruff_cache

# dependency groups need pip 25.1
.venv/.pip: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --upgrade 'pip>=25.1'
	touch $@

.venv/.cpu: .venv/.pip
	$(PIP) --editable '.[cpu,fast]'
	touch $@

.venv/.test: .venv/.cpu
	$(PIP) --group test
	touch $@

.venv/.bench: .venv/.test
	$(PIP) --group bench
	touch $@

.venv/.lint: .venv/.pip
	$(PIP) --group lint
	touch $@

.venv-gpu/.check: pyproject.toml
	test -x .venv-gpu/bin/python || $(PYTHON) -m venv .venv-gpu
	.venv-gpu/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	.venv-gpu/bin/python -m pip install --quiet --editable '.[gpu,export]' --group test --group gpu
	touch $@

.venv-gpu/.wheel: pyproject.toml
	test -x .venv-gpu/bin/python || $(PYTHON) -m venv .venv-gpu
	rm -rf .venv-gpu/wheel
	.venv-gpu/bin/python -m pip download --quiet --no-deps --dest .venv-gpu/wheel onnxruntime-gpu
	.venv-gpu/bin/python -m pip install --quiet --editable . .venv-gpu/wheel/*.whl pytest pytest-timeout hypothesis
	touch $@
