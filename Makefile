# Two commands for a newcomer: `make run`, `make test`. Both set everything up first; a second call is quick.
.PHONY: run test setup check lock bench clean

run: setup
	@.venv/bin/mlxr serve

test:
	@scripts/setup --dev
	@.venv/bin/python -m pytest

setup:
	@scripts/setup

check:
	@scripts/check

lock:
	@scripts/lock

bench:
	@scripts/setup --dev
	@for bench in tests/bench/bench_*.py; do echo "== $$bench"; .venv/bin/python "$$bench" || [ $$? -eq 77 ] || exit 1; done

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build *.egg-info
