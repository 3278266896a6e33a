# make run    opens the app on http://127.0.0.1:8501
# make test   runs the tests, in a real browser too
# Both install what they need into .venv; a Python from 3.11 to 3.13 is all that has to be there.
# make check, screenshots, benchmark, benchmark-learning, benchmark-markets and stress are for those who change it.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
PYTEST_FLAGS ?= -n auto

.PHONY: run test check browser screenshots benchmark benchmark-learning benchmark-markets stress clean
.DEFAULT_GOAL := run

run: .venv/app
	@echo "Policy Gradient Lab: http://127.0.0.1:8501"
	@# With Streamlit's own welcome goes an offer to developers that covers the Train button of a narrow window.
	$(BIN)/streamlit run app.py --server.headless false --logger.hideWelcomeMessage true

test: .venv/dev browser
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

browser: .venv/dev
	$(BIN)/python -m tests.chromium

screenshots: .venv/dev browser
	$(BIN)/python -m tests.screenshots

# The peers are installed beside the benchmarks. PureJaxRL is not on PyPI: name a checkout, and a Python that has JAX, with
# make benchmark SPEED_FLAGS="--purejaxrl /path/to/purejaxrl --jax-python /path/to/python"
benchmark: .venv/dev browser
	$(BIN)/python -m benchmarks.speed $(SPEED_FLAGS)
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.page
	$(BIN)/python -m benchmarks.importing

benchmark-learning: .venv/dev
	$(BIN)/python -m benchmarks.learning

benchmark-markets: .venv/dev
	$(BIN)/python -m benchmarks.markets

stress: .venv/dev
	$(BIN)/python -m benchmarks.stress

.venv/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed: install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/app: .venv/python requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/dev: .venv/app requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
