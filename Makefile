# Everything runs in .venv, which the first target that needs it creates. Only Python and make are required.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test lint types check unit generate format bench clean

help: ## say what there is
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cli]' --group dev
	@touch $@

demo: $(STAMP) ## stream 20,000 offers, the products and the subscriptions of an emulator to NDJSON files
	@mkdir -p demo
	@for list in offers products subscriptions; do \
	  $(BIN)/limio --emulated $$list list --to demo/$$list.ndjson --force || exit; \
	done
	@echo && wc -l demo/*.ndjson && echo "Look inside: head -n 1 demo/offers.ndjson | $(BIN)/python -m json.tool"

test: lint types check unit ## all checks: lint, types, freshness of the generated code, tests

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy
	$(BIN)/basedpyright

check: $(STAMP) ## fail if limio_async/api is not what codegen would write
	$(BIN)/python -m codegen --check

unit: $(STAMP)
	$(BIN)/python -m pytest

generate: $(STAMP) ## write limio_async/api from openapi/
	$(BIN)/python -m codegen

format: $(STAMP) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## print the benchmarks' tables
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.faults

clean: ## remove .venv and everything made
	rm -rf .venv demo dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
