# Two commands for a newcomer: `make run`, `make test`. Both set everything up first; a second call is quick.
.PHONY: run test quick setup check lock bench bench-compare agents clean

# Three tests at a time on two cores: half of them wait for a process, a disk or a timer.
BESIDE = -n 3 --dist worksteal

BYTECODE = .venv/bin/python scripts/bytecode.py

run: setup
	@.venv/bin/mlxr serve

test:
	@scripts/setup --dev
	@$(BYTECODE)
	@.venv/bin/python -m pytest $(BESIDE)

# After each change: what starts no worker or server and needs no real model, with fewer examples of each property.
quick:
	@scripts/setup --dev
	@$(BYTECODE)
	@.venv/bin/python -m pytest $(BESIDE) --hypothesis-profile=quick -q -m "not slow" tests/registry tests/backends tests/router tests/scripts tests/test_*.py

setup:
	@scripts/setup

check:
	@scripts/check

lock:
	@scripts/lock

bench:
	@scripts/setup --dev
	@for bench in tests/bench/bench_*.py; do echo "== $$bench"; .venv/bin/python "$$bench" || [ $$? -eq 77 ] || exit 1; done

# All rows with targets in one table; `make bench-compare QUICK=--quick` asks for few of them. Peers: docs/benchmarks.md.
bench-compare:
	@scripts/setup --dev
	@.venv/bin/python tests/bench/compare.py $(QUICK)

# Coding agents of npm and PyPI, installed into build/agents (some 2 GB) and tried without a network; docs/agents.md has
# the table. `make agents AGENTS="codex llm"` tries only these.
agents:
	@scripts/setup --dev
	@.venv/bin/python -m tests.acceptance.agents $(AGENTS)

clean:
	rm -rf .venv .node router/web/node_modules router/web/vendor .mypy_cache .ruff_cache .pytest_cache build *.egg-info
