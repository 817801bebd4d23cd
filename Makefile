# Everything runs in .venv, which the first target that needs it creates. Only Python and make are required.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
WIREMOCK := wiremock@3.13.2
WIREMOCK_STAMP := .cache/wiremock/.$(WIREMOCK)
PRISM := @stoplight/prism-cli@5.16.0
PRISM_STAMP := .cache/prism/.5.16.0
SWAGGER := swagger-ui-dist@5.35.0
SWAGGER_STAMP := .cache/swagger/.$(SWAGGER)
SCHEMATHESIS := schemathesis==4.32.5
SCHEMATHESIS_STAMP := .cache/schemathesis/.$(SCHEMATHESIS)
LEG = .cache/legs/$@/bin/python -m pytest -m 'not judge'
BOTH := tests/wire/test_transport.py $(patsubst %,tests/unit/test_%.py,body codec) tests/sync_jobs/test_hydrate.py
BARE := tests/legs/test_bare.py $(BOTH) $(patsubst %,tests/unit/test_%.py,outcome retry session) tests/flows/test_readme.py
LOWEST := tests/legs/test_lowest.py $(BOTH) $(patsubst %,tests/unit/test_%.py,models page_reader) tests/sync_jobs/sinks/test_promises.py \
	tests/sync_jobs/test_job.py::test_nobody_who_comes_as_one_leaves_is_let_in_beside_the_next \
	tests/cli/test_output.py tests/cli/test_sync.py::test_the_table_is_on_stdout_and_the_news_on_stderr \
	tests/cli/test_report.py::test_a_page_is_written_and_replaced_only_when_told_to
NEWER := 3.12 3.13
ON_NEWER := tests/test_portable.py $(patsubst %,tests/unit/test_%.py,listing models session) tests/flows/test_readme.py

.DEFAULT_GOAL := help
.PHONY: help demo test lint types mypy basedpyright shown check unit legs bare lowest newer peers speed judges wiremock walks prism schemathesis window report openapi kills outbox outboxkills outboxbefalls inbox kill night beyond nightly generate public format bench clean

help: ## say what there is
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cli,dlt,duckdb,fast,otel,parquet,postgres,report,zstd]' --group dev
	@touch $@

demo: $(STAMP) ## keep a whole emulated tenant in limio-demo.db
	$(BIN)/limio sync --emulated --to sqlite:///limio-demo.db
	@echo
	@echo "Look inside:"
	@echo "  $(BIN)/limio report --from sqlite:///limio-demo.db --html limio-demo.html --force"
	@echo "  $(BIN)/limio sync --status --to sqlite:///limio-demo.db"
	@echo '  $(BIN)/python -c "import sqlite3; print(*sqlite3.connect(\"limio-demo.db\").execute(\"SELECT name, price_amount FROM offers LIMIT 5\"), sep=chr(10))"'

test: lint types check unit legs speed judges ## all checks: lint, types, freshness of the generated code, tests, speed

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP) # each keeps one core busy
	@$(MAKE) --jobs 2 mypy basedpyright

mypy basedpyright: $(STAMP) shown
	$(BIN)/$@
	$(BIN)/$@ build/examples

shown: $(STAMP) # what the pages show
	$(BIN)/python -m tests.typing.examples

check: $(STAMP) ## fail if limio_async/api is not what codegen would write
	$(BIN)/python -m codegen --check

# Three processes, each with a third of the tests; one that is done early takes over from another. On two cores: many wait.
unit: $(STAMP)
	$(BIN)/python -m pytest --numprocesses 3 --dist worksteal

legs: # each keeps one core busy
	@$(MAKE) --jobs 2 lowest bare $(NEWER:%=newer-%)

bare: .cache/legs/bare/.made ## test what an extra may change, in an environment without any
	$(LEG) $(BARE)

# Old releases have packages for old Pythons only.
OLD := $(firstword $(shell for one in python3.11 $(PYTHON); do \
	$$one -c 'import sys; print(*[sys.executable] * (sys.version_info[:2] == (3, 11)))' 2>/dev/null; done))

lowest: $(if $(OLD),.cache/legs/lowest/.made) ## test what a release may break, with the oldest ones that pyproject.toml allows; needs Python 3.11, is skipped without
	@$(if $(OLD),$(LEG) $(LOWEST),echo "skipped: the oldest releases need Python 3.11"; test -z "$$CI")

.cache/legs/lowest/.made: PYTHON := $(OLD)

# Of each release that the classifiers name beside the oldest; pyenv's is taken where there is no other.
on = $(firstword $(shell for one in python$(1) "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$(1).*/bin/python; do \
	"$$one" -c 'import sys; print(*[sys.executable] * (sys.version_info[:2] == ($(subst .,$(,),$(1)))))' 2>/dev/null; done))
, := ,

newer: $(NEWER:%=newer-%) ## import and test the core on each newer Python that the classifiers name; one that is missing is skipped

define newer_leg
newer-$(1): $$(if $$(call on,$(1)),.cache/legs/newer-$(1)/.made)
	@$$(if $$(call on,$(1)),$$(LEG) $$(ON_NEWER),echo "skipped: there is no Python $(1)"; test -z "$$$$CI")

.cache/legs/newer-$(1)/.made: PYTHON = $$(call on,$(1))
endef
$(foreach one,$(NEWER),$(eval $(call newer_leg,$(one))))

.cache/legs/%/.made: pyproject.toml tests/legs/requirements.py
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(PYTHON) -m tests.legs.requirements $* >$(@D)/requirements.txt
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --editable . --requirement $(@D)/requirements.txt
	@touch $@

peers: $(STAMP) ## make the environments of the clients that ours is compared with
	$(BIN)/python -m benchmarks.peers.environments

speed: peers ## hold the client's speed, and that of syncs, against others' on this machine, and the costs of a catalog in memory, in five minutes, and two more for each goal in doubt
	$(BIN)/python -m benchmarks.speed --short
	$(BIN)/python -m benchmarks.sync --short
	$(BIN)/python -m benchmarks.catalog_cache --short

judges: walks ## programs of others on the client and the emulator
	@$(MAKE) --jobs 2 kills wiremock prism schemathesis window report openapi # the first waits most of its time
	@$(MAKE) outbox inbox

walks: $(STAMP) ## walk lists and submit orders at random against a server that shares no code with the client, in a minute or two
	$(BIN)/python -m tests.judges.walks
	$(BIN)/python -m tests.judges.walks --planted

wiremock: $(STAMP) $(WIREMOCK_STAMP) ## let WireMock break connections and look in its journal; needs Java and npm, is skipped without
	$(BIN)/python -m pytest -rs -m judge tests/judges/test_wiremock.py

# Without npm there is no stamp, and the test says what is missing.
$(WIREMOCK_STAMP):
	@mkdir -p $(@D)
	@command -v npm >/dev/null || exit 0; \
	npm install --prefix $(@D) --no-save --no-audit --no-fund --ignore-scripts --loglevel=error $(WIREMOCK) && touch $@

prism: $(STAMP) $(PRISM_STAMP) ## call every operation through Prism, which compares all with the spec; needs npm, is skipped without
	$(BIN)/python -m pytest -rs -m judge tests/judges/test_prism.py

$(PRISM_STAMP):
	@mkdir -p $(@D)
	@command -v npm >/dev/null || exit 0; \
	npm install --prefix $(@D) --no-save --no-audit --no-fund --ignore-scripts --loglevel=error $(PRISM) && touch $@

schemathesis: $(STAMP) $(SCHEMATHESIS_STAMP) ## ask the emulator whatever the spec allows and more, for two minutes at most
	$(BIN)/python -m tests.judges.run_schemathesis .cache/schemathesis/bin/schemathesis 5

# An environment of its own: it needs many packages that nothing else does.
$(SCHEMATHESIS_STAMP):
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(SCHEMATHESIS)
	@touch $@

window: $(STAMP) ## click through the emulator's window in Chromium; is skipped without
	$(BIN)/python -m pytest -rs -m judge tests/judges/test_window.py

report: $(STAMP) ## look at a page of limio report in Chromium; is skipped without
	$(BIN)/python -m pytest -rs -m judge tests/judges/test_report.py

openapi: $(STAMP) $(SWAGGER_STAMP) ## read and try the OpenAPI page of examples/fastapi in Chromium; needs npm, is skipped without
	$(BIN)/python -m pytest -rs -m judge tests/judges/test_openapi_page.py

$(SWAGGER_STAMP):
	@mkdir -p $(@D)
	@command -v npm >/dev/null || exit 0; \
	npm install --prefix $(@D) --no-save --no-audit --no-fund --ignore-scripts --loglevel=error $(SWAGGER) && touch $@

kills: $(STAMP) ## kill `limio sync` 25 times while tenant and target go away, and look for what is lost; needs PostgreSQL's programs, that part is skipped without
	$(BIN)/python -m pytest -rs -s -m judge tests/judges/test_kill.py

outbox: $(STAMP) ## kill a program with an outbox while orders are on the wire, and count what was made; needs PostgreSQL's programs
	@$(MAKE) --jobs 2 outboxkills outboxbefalls

outboxkills: $(STAMP)
	$(BIN)/python -m tests.judges.outbox --short

outboxbefalls: $(STAMP)
	$(BIN)/python -m pytest --numprocesses 2 -rs -m judge tests/judges/test_outbox_lines.py tests/judges/test_outbox_history.py

inbox: $(STAMP) ## kill programs that receive and handle webhooks, and count what their handlers wrote, in half a minute; needs PostgreSQL's programs
	$(BIN)/python -m tests.judges.inbox --short

kill: $(STAMP) ## the same with 200 kills and 51,000 items, and a tenant that is away for up to a minute; with 1,200 orders, kills at every line, and faults that are planted; and with 8,000 events
	$(BIN)/python -m tests.judges.killing
	$(BIN)/python -m tests.judges.outbox
	$(BIN)/python -m tests.judges.outbox_history
	$(BIN)/python -m tests.judges.outbox_lines
	$(BIN)/python -m tests.judges.outbox_planted
	$(BIN)/python -m tests.judges.inbox
	$(BIN)/python -m tests.judges.inbox --planted

night: $(STAMP) ## sync a night of outages in four real minutes, and leave its report in .cache/night; needs PostgreSQL's programs
	$(BIN)/python -m tests.judges.nights

beyond: $(STAMP) ## try locks, constraints, outages, odd values, refusals and signals on `limio sync`, one line each, in ten minutes; needs PostgreSQL's programs
	$(BIN)/python -m tests.judges.beyond

nightly: $(STAMP) ## plant the faults that tests once passed over; 20,000 new walks and 2,000 new nights, of which none may fail
	$(BIN)/python -m tests.judges.noticed
	$(BIN)/python -m tests.judges.walks --fresh 20000 --strict
	LIMIO_NIGHTS=2000 LIMIO_NIGHTS_FIRST=$$(date +%s) $(BIN)/python -m pytest -n 2 -o tmp_path_retention_policy=failed tests/judges/test_nights.py

generate: $(STAMP) ## write limio_async/api from openapi/
	$(BIN)/python -m codegen

public: $(STAMP) ## write all public names and signatures to tests/typing/public.txt
	$(BIN)/python -m tests.typing.public

format: $(STAMP) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: peers ## print the benchmarks' tables
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.faults
	$(BIN)/python -m benchmarks.emulator
	$(BIN)/python -m benchmarks.sync
	$(BIN)/python -m benchmarks.outbox
	$(BIN)/python -m benchmarks.inbox
	$(BIN)/python -m benchmarks.catalog_cache

clean: ## remove .venv and everything made
	rm -rf .venv .cache limio-demo.* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
