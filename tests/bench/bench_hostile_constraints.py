"""What hostile grammars, schemas and expressions cost: the slowest refusals, and the slowest masks of what is followed.

    python tests/bench/bench_hostile_constraints.py [--rounds 3]

The cases are those of `tests/backends/constraints/test_hostile.py`, over a tokenizer of bytes. pytest does not
collect it.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from backends.constraints.compiler import COMPILE_DEADLINE_S, ConstraintCompiler  # noqa: E402 - after the path
from backends.errors import ConstraintError  # noqa: E402 - after the path
from backends.wire.request import ConstraintKind  # noqa: E402 - after the path
from tests.backends.constraints.conftest import ByteTokenizer, compiled  # noqa: E402 - after the path
from tests.backends.constraints.test_hostile import FOLLOWED, NUM_TOKENS, REFUSED  # noqa: E402 - after the path

NUM_SHOWN = 3


def seconds(act: Callable[[], object]) -> float:
    started_at = time.perf_counter()
    with contextlib.suppress(ConstraintError):
        act()
    return time.perf_counter() - started_at


def slowest_mask_s(compiler: ConstraintCompiler, kind: ConstraintKind, text: str) -> float:
    """Give the slowest step of a random answer of `NUM_TOKENS` tokens."""
    random = np.random.default_rng(0)
    slowest_s = 0.0
    with contextlib.suppress(ConstraintError):
        matcher = compiled(compiler, kind, text)
        for _ in range(NUM_TOKENS):
            logits = random.normal(0, 3, 259).astype(np.float32)
            started_at = time.perf_counter()
            matcher.mask(logits)
            matcher.accept(int(logits.argmax()))
            slowest_s = max(slowest_s, time.perf_counter() - started_at)
    return slowest_s


def show(what: str, cases: list[tuple[ConstraintKind, Any]], cost_s: Callable[[ConstraintKind, str], float]) -> None:
    costs = sorted(((cost_s(kind, text), kind, text) for kind, text in cases), reverse=True, key=lambda cost: cost[0])
    for duration_s, kind, text in costs[:NUM_SHOWN]:
        print(f"  {what:<8} {duration_s * 1e3:9.1f} ms  {kind.value:<12} {str(text)[:60]!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"compilation ends at {COMPILE_DEADLINE_S:g} s")
    for number in range(arguments.rounds):
        print(f"round {number + 1}")
        compiler = ConstraintCompiler(ByteTokenizer())
        show("refused", REFUSED, lambda kind, text: seconds(lambda: compiled(compiler, kind, text)))  # noqa: B023 - used at once
        show("mask", FOLLOWED, lambda kind, text: slowest_mask_s(compiler, kind, text))  # noqa: B023 - used at once


if __name__ == "__main__":
    main()
