# Every chore. `make demo` and `make test` need CPython 3.10 or later and a C compiler, nothing else:
# what they install goes into .venv.

PYTHON ?= $(firstword $(foreach p,python3 python3.15 python3.14 python3.13 python3.12 python3.11 python3.10,$(shell \
	$(p) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $(p))))
BIN := .venv/bin
# Warnings of pip are about the machine, not about us; errors are shown.
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip -qq
# Nothing that is done here is recorded, but for what says so.
unexport PYTHONAUDIT

.PHONY: demo test newer free-threaded lint bench evals benign soak fuzz coverage docs clean

demo: .venv/tools ## shows what is recorded of an application
	@examples/demo.sh $(BIN)

bench: .venv/dev ## what it costs, beside what one would use instead
	@for part in cost off read ingest archive verify detect export programs others; do echo "== bench/$$part.py"; $(BIN)/python bench/$$part.py || exit 1; done

evals: .venv/tools ## how many of the known attacks that are emulated the rules find; needs root, ARGS chooses
	@$(BIN)/python evals/attacks.py $(ARGS)

benign: .venv/tools ## what the rules say of much used packages at work; hours, goes on where it was, ARGS chooses
	@$(BIN)/python evals/benign.py $(ARGS)

soak: .venv/dev ## kills, forks, threads, faults and floods at random for MINUTES=10
	@MINUTES=$(or $(MINUTES),10) SEED=$(or $(SEED),$$(date +%s)) $(BIN)/python -m pytest -s -q -o faulthandler_timeout=0 tests/soak/soak.py

fuzz: .venv/dev ## hostile text, arguments and journals: each target for MINUTES=1
	@for target in mask encode; do \
		$(BIN)/python -m tests.fuzz.targets $$target --seconds $$((60 * $(or $(MINUTES),1))) || exit 1; done
	@$(BIN)/python -m tests.fuzz.fuzz_reader --seconds $$((60 * $(or $(MINUTES),1))) --seed $(or $(SEED),$$(date +%s))

coverage: .venv/dev ## lines of C that the tests execute; ARGS chooses tests, MISSING=--missing lists the rest
	@PATH="$$($(BIN)/python -m tests.native.coverage build/coverage --wrap):$$PATH" GCOV_ERROR_FILE=/dev/null \
		$(BIN)/python -m pytest -q -o cache_dir=build/coverage/cache $(or $(ARGS),tests) || \
		echo "some tests fail with counters in: those that look at descriptors and files, mostly" >&2
	@$(BIN)/python -m tests.native.coverage build/coverage $(MISSING)

docs: .venv/dev ## writes what is generated: the table of events for C, docs/coverage.md
	@$(BIN)/python -m pythonaudit.catalog.generate

test: .venv/dev ## all tests, on every CPython found on PATH and among pyenv's versions; JOBS at once
	@$(BIN)/python -m pytest -n $(or $(JOBS),2) --dist loadfile $(ARGS)

newer: .venv/dev ## tests on CPython 3.14 and 3.15, of a newer Debian in a chroot; needs root and apt
	@tests/newer.sh $(if $(ARGS),pytest $(ARGS))

free-threaded: .venv/dev ## tests on a free-threaded CPython, built once from Debian's source; needs apt
	@tests/free_threaded.sh $(ARGS)

lint: .venv/dev ## style, types, and C without a single warning
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary
	@for file in native/*.c; do \
		$(CC) -std=gnu11 -O2 -Wall -Wextra -Wframe-larger-than=5200 -Werror -DPy_LIMITED_API=0x030A0000 '-DPA_VERSION="lint"' \
			-I"$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')" \
			-c -o /dev/null "$$file" || exit 1; \
	done
	@$(BIN)/python -m pythonaudit.catalog.generate --check
	@bash -n .ci/run && bash -n examples/demo.sh && bash -n tests/newer.sh && bash -n tests/free_threaded.sh

clean: ## removes what was built here
	@rm -rf .venv .demo build src/*.egg-info src/pythonaudit/*.so

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "pythonaudit needs CPython 3.10 or later; say which: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "setting up .venv (once) ..."
	@$(PYTHON) -m venv .venv
	@$(PIP) install --upgrade pip 'setuptools>=77.0.3'

.venv/tools: .venv/bin/python pyproject.toml setup.py pythonaudit.pth $(wildcard native/*.c native/*.h)
	@$(PIP) install --no-build-isolation --editable '.[tools]'
	@touch $@

.venv/dev: .venv/tools
	@$(PIP) install --no-build-isolation --editable '.[dev]'
	@touch $@
