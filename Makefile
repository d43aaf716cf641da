# Two commands on a fresh machine with Python 3.11 or newer, make and git:
#   make demo   see it work          make test   see it proven
# Everything they need is set up in .venv of this folder, once, from locked and hashed files.

NEW_ENOUGH = -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
ifeq ($(strip $(PYTHON)),)
PYTHON := $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell $(p) $(NEW_ENOUGH) && echo $(p))))
endif
VENV   := .venv
PY     := $(VENV)/bin/python
# What a person adds to pytest: make test ARGS='-k watch -x'
ARGS   ?=

# Only wheels: no compiler is needed, and nothing of a stranger's runs while it is installed.
PIP    := $(PY) -m pip --quiet --no-input --disable-pip-version-check
LOCKED := $(PIP) install --only-binary :all: --require-hashes
SOURCES = server client examples bench tests

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test torture seeded-bugs check bench generate docs lock clean format-check lint types contracts proto-lint \
        proto-breaking generated-check docs-check docker-lint

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || grep '##' $(MAKEFILE_LIST)

# ---------------------------------------------------------------------------------------------------------- set-up
define venv
@if [ -z '$(PYTHON)' ] || ! $(PYTHON) $(NEW_ENOUGH); then \
  echo 'runcast: needs Python 3.11 or newer, and "$(or $(PYTHON),python3)" is not.' >&2; \
  echo '         Install one, or name one that you have:  make $(MAKECMDGOALS) PYTHON=/path/to/python3.11' >&2; exit 1; fi
@if ! $(PY) -c '' 2>/dev/null; then \
  echo 'runcast: making $(VENV) with '"$$($(PYTHON) --version)"; \
  $(PYTHON) -m venv $(VENV) || { \
    echo 'runcast: $(PYTHON) could not make a virtual environment. On Debian and Ubuntu:  apt install python3-venv' >&2; \
    rm -rf $(VENV); exit 1; }; fi
endef
FAILED = { echo 'runcast: the set-up failed; the lines above say why. It needs a network once; run the same command again.' >&2; exit 1; }

# What production needs, and what builds the package: enough for the demo.
$(VENV)/.ready-server: requirements.server.lock requirements.build.lock pyproject.toml
	$(venv)
	@echo 'runcast: installing the server (once, about half a minute)'
	@$(LOCKED) -r requirements.server.lock -r requirements.build.lock || $(FAILED)
	@$(PIP) install --no-deps --no-build-isolation -e . || $(FAILED)
	@touch $@

# The same, and every tool that tests and checks it.
$(VENV)/.ready: requirements.lock pyproject.toml
	$(venv)
	@echo 'runcast: installing the server and its tools (once, under a minute)'
	@$(LOCKED) -r requirements.lock || $(FAILED)
	@$(PIP) install --no-deps --no-build-isolation -e . || $(FAILED)
	@touch $@ $(VENV)/.ready-server

# ------------------------------------------------------------------------------------------------------ what you run
demo: $(if $(wildcard $(VENV)/.ready),$(VENV)/.ready,$(VENV)/.ready-server) ## see it work: serve, run with a live bar, look at the result, replay
	@$(PY) -m runcast.examples.demo

test: $(VENV)/.ready ## run the tests (ARGS='-k watch -x' goes to pytest)
	@$(PY) -m pytest $(ARGS)

torture: $(VENV)/.ready ## kill and freeze servers at length (ARGS='--kills 500 --freezes 200 --seed 1 --storage URL')
	@$(PY) -m tests.torture $(ARGS)

seeded-bugs: $(VENV)/.ready ## put each deliberate bug in, and see its test catch it (ARGS=--list prints the list)
	@$(PY) -m tests.torture.seeded $(ARGS)

check: format-check lint types contracts proto-lint proto-breaking generated-check docs-check docker-lint ## everything that is checked without running it
	@echo 'check: all good'

bench: $(VENV)/.ready ## measure, one JSON line per figure
	@$(PY) -m bench $(ARGS)

generate: $(VENV)/.ready ## write generated/ anew from proto/
	@PYTHON=$(PY) tools/generate

docs: $(VENV)/.ready ## write docs/cli.md and docs/api.md anew from the command line and from proto/
	@$(PY) tools/docs.py

# Index addresses stay out of the locks: they belong to the machine, not to the project.
UV_COMPILE = UV_CUSTOM_COMPILE_COMMAND='make lock' $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 \
             --generate-hashes --no-emit-index-url --no-annotate
lock: $(VENV)/.ready ## resolve the dependencies anew (ARGS=--upgrade for the newest)
	@$(UV_COMPILE) $(ARGS) --extra server --extra dev pyproject.toml -o requirements.lock
	@$(UV_COMPILE) $(ARGS) --extra server -c requirements.lock pyproject.toml -o requirements.server.lock
	@printf 'hatchling\neditables\n' | $(UV_COMPILE) $(ARGS) -c requirements.lock - -o requirements.build.lock
	@git --no-pager diff --stat -- 'requirements*.lock'

clean: ## remove what was built and cached (.venv stays: delete it by hand)
	@rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .runcast/demo.db* .runcast/bench
	@find $(SOURCES) generated -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# ---------------------------------------------------------------------------------------------- the parts of check
format-check: $(VENV)/.ready
	@echo 'check: format'; $(VENV)/bin/ruff format --check --quiet . || { echo 'remedy: $(VENV)/bin/ruff format .' >&2; exit 1; }

lint: $(VENV)/.ready
	@echo 'check: lint'; $(VENV)/bin/ruff check --quiet .

types: $(VENV)/.ready
	@echo 'check: types'; $(VENV)/bin/mypy --no-error-summary $(wildcard $(SOURCES))

contracts: $(VENV)/.ready
	@echo 'check: import contracts'; $(VENV)/bin/lint-imports --no-logo

proto-lint: $(VENV)/.ready
	@echo 'check: proto lint'; $(VENV)/bin/buf lint

# The last landed commit: origin/main; where that is this very commit (or there is no remote), the commit before it,
# or this commit itself while proto/ is being edited.
proto-breaking: $(VENV)/.ready
	@skip() { echo "check: proto breaking: skipped, $$1"; exit 0; }; \
	head=$$(git rev-parse -q --verify HEAD) || skip 'there is no commit yet'; \
	base=$$(git rev-parse -q --verify origin/main || true); \
	if [ -z "$$base" ] || [ "$$base" = "$$head" ]; then \
	  if [ -n "$$(git status --porcelain -- proto)" ]; then base=$$head; \
	  else base=$$(git rev-parse -q --verify HEAD^) || skip 'the history has no earlier commit (first commit, or a shallow clone)'; fi; fi; \
	[ -n "$$(git ls-tree "$$base" -- proto)" ] && [ -n "$$(git ls-tree "$$base" -- buf.yaml)" ] \
	  || skip "commit $$(git rev-parse --short "$$base") has no contract yet"; \
	echo "check: proto breaking, against $$(git rev-parse --short "$$base")"; \
	old=$$(mktemp -d) && trap 'rm -rf "$$old"' EXIT && git archive "$$base" proto buf.yaml | tar -x -C "$$old" && \
	$(VENV)/bin/buf breaking --against "$$old"

generated-check: $(VENV)/.ready
	@echo 'check: generated code is what proto/ gives'; \
	old=$$(mktemp -d) && trap 'rm -rf "$$old"' EXIT && cp -R generated "$$old/" && PYTHON=$(PY) tools/generate && \
	diff -r -x __pycache__ "$$old/generated" generated \
	  || { echo 'generated/ was not what proto/ gives. It is now: look at it and commit it.' >&2; exit 1; }

docs-check: $(VENV)/.ready
	@echo 'check: docs are what the code says'; $(PY) tools/docs.py --check

docker-lint: $(VENV)/.ready
	@echo 'check: Dockerfile'; $(VENV)/bin/hadolint Dockerfile
