# What this project can do: `make` alone lists it. Needs Python 3.11 or newer with pip, and make; the rest it gets itself.

PYTHON ?= python3
# uv from the machine where there is one, else pip puts it into .tools.
UV ?= $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
BIN := .venv/bin
ARGS ?=

export AWS_DEFAULT_REGION ?= eu-west-1
export SAM_CLI_TELEMETRY := 0
export UV_NO_PROGRESS := 1
# Byte code is kept, wherever the environment forbids it: one test run starts a hundred processes with the same imports.
unexport PYTHONDONTWRITEBYTECODE
# Trust whom this machine trusts: companies have certificate authorities of their own. (Two names, for older uv.)
export UV_SYSTEM_CERTS ?= true
export UV_NATIVE_TLS ?= true

.DEFAULT_GOAL := help
.PHONY: help install demo up test deep contract lint lint-format lint-rules lint-types lint-imports lint-tests format bench build build-host clean
.DELETE_ON_ERROR:

help:
	@echo "make demo     a campaign to 100,000 users through a whole AWS on this machine, with a report at the end"
	@echo "make up       the same, staying up: a bucket to drop files in, pages, mail and phones to look at"
	@echo "make test     the tests of the gate, about five minutes; make deep has the rest (ARGS='-k word' passes arguments to pytest)"
	@echo "make deep     what the tests leave out: many more examples for the property tests, and every fault"
	@echo "make contract contract tests against servers of other make, artifacts under AWS's emulator (Go, Rust)"
	@echo "make lint     format, lint, types, import contracts, and that every test file loads"
	@echo "make format   mends what the formatter and the linter can mend"
	@echo "make bench    benchmarks"
	@echo "make build    sam build for Lambda (arm64), and the same artifact for this machine"
	@echo "make install  everything that developing needs, into .venv"
	@echo "make clean    removes what the commands above have made"

# ---------------------------------------------------------------------------------------------- installing

install: .venv/.installed-dev

.tools/bin/uv:
	@echo "==> Getting uv by pip, into .tools"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action ignore --upgrade --target .tools uv
	@touch $@

# What the sandbox needs is a part of what developing needs: --inexact leaves the rest where it is.
.venv/.installed-sandbox: uv.lock | $(UV)
	@echo "==> Installing what the demo needs into .venv (once for each change of uv.lock)"
	@$(UV) sync --quiet --frozen --inexact --python "$$(command -v $(PYTHON))" --no-default-groups --group sandbox
	@touch $@

.venv/.installed-dev: uv.lock | $(UV)
	@echo "==> Installing everything that developing needs into .venv (once for each change of uv.lock)"
	@$(UV) sync --quiet --frozen --python "$$(command -v $(PYTHON))"
	@touch .venv/.installed-sandbox $@

# ------------------------------------------------------------------------------------------------- running

demo: .venv/.installed-sandbox
	@$(BIN)/python -m sandbox demo $(ARGS)

up: .venv/.installed-sandbox
	@$(BIN)/python -m sandbox up $(ARGS)

# Four processes for two cores: in most tests of whole runs a process waits half of its time.
test: .venv/.installed-dev
	@$(BIN)/python -m pytest --numprocesses 4 --dist loadscope --no-loadscope-reorder --ignore tests/bench $(ARGS)

# Forty times the examples (tests/examples.py), and the tests marked slow.
deep: .venv/.installed-dev
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder --hypothesis-profile deep \
	  -m "hypothesis or slow" $(ARGS)

# Fetches and builds what it can (ARGS=versitygw for one of them), and says what it could not.
contract: .venv/.installed-dev
	@$(BIN)/python -m tests.contract.elsewhere $(ARGS)

bench: .venv/.installed-dev
	@$(BIN)/python -m pytest tests/bench -m bench -s $(ARGS)

# Side by side: types take longer than all the rest.
lint: .venv/.installed-dev
	@$(MAKE) --no-print-directory -j 5 lint-types lint-tests lint-imports lint-rules lint-format

lint-format:
	@echo "==> Format" && $(BIN)/ruff format --check .

lint-rules:
	@echo "==> Lint" && $(BIN)/ruff check .

# On a busy machine mypy gives its workers up after a few seconds, with exit code 2: then one process does it.
lint-types:
	@echo "==> Types" && { $(BIN)/mypy --num-workers 2 || { [ $$? -eq 2 ] && $(BIN)/mypy; }; }

# It also leaves byte code of every test and library: in a fresh clone each process of `make test` would compile all of them.
lint-tests:
	@echo "==> Tests" && $(BIN)/python -m pytest --collect-only --quiet --quiet >.venv/.collected 2>&1 || { cat .venv/.collected; exit 1; }

lint-imports:
	@echo "==> Import contracts" && $(BIN)/lint-imports

format: .venv/.installed-dev
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

# ------------------------------------------------------------------------------------------------ building

# There are four artifacts: the notifier's three functions ship one, the two of the approval pages another, the schedules
# have one, and so have the two that need DuckDB: what prepares audiences, and what finds and erases people. Dependencies
# are installed once for each change of uv.lock into .aws-sam/deps, and `sam build` calls build-<function>, which copies
# them and adds the source. With BUILD_FOR=host the same is built for this machine.
BUILD_FOR := lambda
LAMBDA_PYTHON := 3.14
LAMBDA_PLATFORM := aarch64-manylinux_2_28
HOST_PYTHON = $(shell $(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# Left out by name. The first line is in Lambda's runtime already, and so is what only botocore uses of the others: urllib3
# where requests, which must have its own version of it, is not shipped. The second is for PyFCM's asynchronous calls, the third
# for google-auth without cryptography and for making C extensions: nothing of it is imported, and together it is 18 MB.
LEFT_OUT := boto3 botocore s3transfer jmespath \
  aiohttp aiohappyeyeballs aiosignal attrs frozenlist multidict propcache yarl \
  pyasn1 pyasn1-modules pycparser
LEFT_OUT_WITHOUT_REQUESTS := urllib3
# Parts of packages that nothing here imports. Babel and pytz come with Liquid, for filters that we do not offer: Babel's
# languages (32 MB; English and the root stay) and pytz's time zones (2 MB) are read by those filters only. cryptography
# needs _cffi_backend, and not cffi itself, which makes C extensions.
SPARE := babel/locale-data/[!er]*.dat babel/locale-data/e[!n]*.dat babel/locale-data/en_*.dat babel/locale-data/r[!o]*.dat \
  pytz/zoneinfo cffi *-stubs bin .lock aws_lambda_powertools/event_handler/openapi/swagger_ui/*.js \
  $(addprefix aws_lambda_powertools/utilities/,auth_alpha batch circuit_breaker data_masking feature_flags idempotency \
  kafka metadata parameters parser streaming validation)

# $(call install-deps,FOLDER,EXTRA,WHAT UV SHOULD INSTALL FOR)
define install-deps
	@rm -rf $(1) && mkdir -p $(1)
	@$(UV) export --quiet --frozen --no-dev --no-emit-project --extra $(2) $(LEFT_OUT:%=--no-emit-package %) \
	  $(if $(filter-out worker,$(2)),$(LEFT_OUT_WITHOUT_REQUESTS:%=--no-emit-package %)) --output-file $(1).txt
	@$(UV) pip install --quiet --no-deps --only-binary :all: --link-mode copy $(3) --target $(1) -r $(1).txt
	@cd $(1) && rm -rf $(SPARE)
	@find $(1) -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
	@find $(1) -path '*.dist-info/*' ! -name METADATA ! -name WHEEL ! -name entry_points.txt ! -iname 'licen[cs]e*' -type f -delete
	@find $(1) \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.h' \) -type f -delete
endef

# $(call compile,PYTHON,ROOT OF THE ARTIFACT,FOLDERS). Lambda's folder cannot be written to, and sam's zip loses the times of
# files, hence byte code that is never compared with its source. It is the same from whatever checkout it is built: the path
# in it is Lambda's, and sets of texts have the same order in every process.
compile = PYTHONHASHSEED=0 $(1) -m compileall -q -j 0 --invalidation-mode unchecked-hash -s $(2) -p /var/task $(3)

# The first interpreter of Lambda's version that runs, perhaps none. (A pyenv shim is found and does not run.)
LAMBDA_INTERPRETER = $(shell for python in python$(LAMBDA_PYTHON) $(HOME)/.pyenv/versions/$(LAMBDA_PYTHON).*/bin/python \
  "$$($(UV) python find --no-project --no-python-downloads --managed-python $(LAMBDA_PYTHON) 2>/dev/null)"; do \
  $$python -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(LAMBDA_PYTHON)")' >/dev/null 2>&1 \
  && echo $$python && break; done)

compile-for-host = @$(call compile,$(BIN)/python,$(1),$(2))

define compile-for-lambda
	@interpreter="$(LAMBDA_INTERPRETER)"; if [ -n "$$interpreter" ]; then $(call compile,"$$interpreter",$(1),$(2)); \
	  else echo "No Python $(LAMBDA_PYTHON) here: shipped without byte code, cold starts take about a second longer" \
	  "(uv python install $(LAMBDA_PYTHON))"; fi
endef

.aws-sam/deps/%-lambda.done: uv.lock Makefile | $(UV)
	@echo "==> Installing the dependencies of $* for $(LAMBDA_PLATFORM), Python $(LAMBDA_PYTHON)"
	$(call install-deps,.aws-sam/deps/$*-lambda,$*,--python-version $(LAMBDA_PYTHON) --python-platform $(LAMBDA_PLATFORM))
	$(call compile-for-lambda,.aws-sam/deps/$*-lambda,.aws-sam/deps/$*-lambda)
	@[ -z "$(LAMBDA_INTERPRETER)" ] || touch $@  # done only with byte code: the next build looks for a Python again

.aws-sam/deps/%-host.done: uv.lock Makefile .venv/.installed-sandbox | $(UV)
	@echo "==> Installing the dependencies of $* for this machine, Python $(HOST_PYTHON)"
	$(call install-deps,.aws-sam/deps/$*-host,$*,--python $(BIN)/python)
	$(call compile-for-host,.aws-sam/deps/$*-host,.aws-sam/deps/$*-host)
	@touch $@

# $(call assemble,DEPENDENCIES,FOLDER,PACKAGES)
define assemble
	@mkdir -p $(2) && cp -a $(1)/. $(2)/ && cp -R $(3) $(2)/
	@find $(3:%=$(2)/%) -type d -name __pycache__ -prune -exec rm -rf {} +
endef

# Of the reports, what winners are decided by, and the users that a goal needs.
define add-statistics
	@mkdir -p "$(ARTIFACTS_DIR)/reporting" && cp reporting/__init__.py reporting/chi_squared.py "$(ARTIFACTS_DIR)/reporting/"
	@cp -R reporting/statistics "$(ARTIFACTS_DIR)/reporting/" && rm -rf "$(ARTIFACTS_DIR)/reporting/statistics/__pycache__"
endef

# And what the pages show of a goal: the report's own figures, words and pictures.
define add-outcomes
	@cp reporting/outcome.py reporting/pictures.py reporting/lift_words.py reporting/page_words.py "$(ARTIFACTS_DIR)/reporting/"
endef

build-WorkerFunction build-SweeperFunction build-ControlFunction: .aws-sam/deps/worker-$(BUILD_FOR).done
	$(call assemble,.aws-sam/deps/worker-$(BUILD_FOR),"$(ARTIFACTS_DIR)",notifier)
	$(call compile-for-$(BUILD_FOR),"$(ARTIFACTS_DIR)","$(ARTIFACTS_DIR)/notifier")

build-ApprovalFunction build-AuthorizerFunction: .aws-sam/deps/approval-$(BUILD_FOR).done
	$(call assemble,.aws-sam/deps/approval-$(BUILD_FOR),"$(ARTIFACTS_DIR)",notifier approval)
	$(add-statistics)
	$(add-outcomes)
	$(call compile-for-$(BUILD_FOR),"$(ARTIFACTS_DIR)","$(ARTIFACTS_DIR)/notifier" "$(ARTIFACTS_DIR)/approval" "$(ARTIFACTS_DIR)/reporting")

build-AudienceFunction build-PrivacyFunction: .aws-sam/deps/audiences-$(BUILD_FOR).done
	$(call assemble,.aws-sam/deps/audiences-$(BUILD_FOR),"$(ARTIFACTS_DIR)",notifier audiences privacy)
	@mkdir -p "$(ARTIFACTS_DIR)/reporting" && cp -R $(addprefix reporting/,__init__.py person.py trail.py cost.py proof) \
	  "$(ARTIFACTS_DIR)/reporting/" && rm -rf "$(ARTIFACTS_DIR)/reporting/proof/__pycache__"
	$(call compile-for-$(BUILD_FOR),"$(ARTIFACTS_DIR)",$(OF_DUCKDB:%="$(ARTIFACTS_DIR)/%"))

build-ScheduleFunction: .aws-sam/deps/schedules-$(BUILD_FOR).done
	$(call assemble,.aws-sam/deps/schedules-$(BUILD_FOR),"$(ARTIFACTS_DIR)",notifier schedules)
	$(add-statistics)
	$(call compile-for-$(BUILD_FOR),"$(ARTIFACTS_DIR)","$(ARTIFACTS_DIR)/notifier" "$(ARTIFACTS_DIR)/schedules" "$(ARTIFACTS_DIR)/reporting")

OF_DUCKDB := notifier audiences privacy reporting

# SAM in an environment of its own: it pins libraries that the product ships in newer versions.
SAM_VERSION := 1.170.0
SAM := .tools/sam-$(SAM_VERSION)/bin/sam

$(SAM): | $(UV)
	@echo "==> Installing SAM $(SAM_VERSION) into .tools"
	@$(UV) venv --quiet --clear --python "$$(command -v $(PYTHON))" .tools/sam-$(SAM_VERSION)
	@$(UV) pip install --quiet --python .tools/sam-$(SAM_VERSION) aws-sam-cli==$(SAM_VERSION)

build: .venv/.installed-dev build-host $(SAM)
	@echo "==> sam build"
	@PATH="$(dir $(abspath $(UV))):$$PATH" $(SAM) build
	@for folder in .aws-sam/build/*Function .aws-sam/host/*; do \
	  echo "$$(find $$folder -type f -exec cat {} + | wc -c) $$folder" | awk '{ printf "%.1f MB %s\n", $$1 / 1e6, $$2 }'; done

build-host:
	@echo "==> The artifacts for this machine, in .aws-sam/host"
	@rm -rf .aws-sam/host
	@$(MAKE) --no-print-directory build-WorkerFunction BUILD_FOR=host ARTIFACTS_DIR=.aws-sam/host/worker
	@$(MAKE) --no-print-directory build-ApprovalFunction BUILD_FOR=host ARTIFACTS_DIR=.aws-sam/host/approval
	@$(MAKE) --no-print-directory build-AudienceFunction BUILD_FOR=host ARTIFACTS_DIR=.aws-sam/host/audiences
	@$(MAKE) --no-print-directory build-ScheduleFunction BUILD_FOR=host ARTIFACTS_DIR=.aws-sam/host/schedules

clean:
	rm -rf .venv .tools .aws-sam .sandbox .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
