"""Decode and prefill with a count of threads that follows the machine, against one and all, beside busy processes.

    python tests/bench/bench_threads.py [--loads 0,1,2,4,2b] [--rounds N] [--tokens N] [--prompt N] [GGUF]

Three engines in one process, each with the model loaded, asked in turns. A load is so many processes that do nothing
but compute; with `b` bursts, on and off for seven tenths of a second. Prints the medians of the rates and of the
rounds' ratios to the better of the two fixed counts. The row without load says how many cores others used: above 0.1
it is no measurement of an idle machine.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))
from backends.base import LoadedEngine
from backends.machine.current import current_platform
from backends.wire.load import LoadSpec
from backends.wire.request import SamplingParams
from tests.bench.support.models import bundled_gguf
from tests.support.bare_engine import BareEngine, load, text_ids

GREEDY = SamplingParams(temperature=0)
CONTEXT_LENGTH = 2048
STEP_TOKENS = 256
BUSY = "while True: pass"
BURSTS = """
import time
while True:
    end = time.monotonic() + 0.7
    while time.monotonic() < end: pass
    time.sleep(0.7)
"""


@contextmanager
def beside(words: str) -> Iterator[None]:
    """Run busy processes meanwhile; `words` as in the options."""
    script = BURSTS if words.endswith("b") else BUSY
    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(int(words.removesuffix("b")))]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


class Side:
    """An engine with a count of threads, `None` = one that follows."""

    def __init__(self, path: Path, num_threads: int | None) -> None:
        spec = LoadSpec(
            model_path=str(path),
            context_length=CONTEXT_LENGTH,
            max_sequences=1,
            step_tokens=STEP_TOKENS,
            num_threads=num_threads,
        )
        self.engine: LoadedEngine = load("llamacpp", spec)
        self.bare = BareEngine(self.engine)
        self.rates: dict[str, list[float]] = {"decode": [], "prefill": []}

    def measure(self, seed: int, num_prompt: int, num_tokens: int) -> None:
        """Evaluate a prompt, then decode; note tokens/s of both."""
        sequence = self.bare.insert(text_ids(num_prompt, seed))
        begin = time.perf_counter()
        (first,) = self.bare.run(sequence, num_tokens=1, max_tokens=STEP_TOKENS)
        middle = time.perf_counter()
        self.bare.run(sequence, num_tokens=1 + num_tokens, max_tokens=STEP_TOKENS)
        self.rates["prefill"].append(num_prompt / (middle - begin))
        self.rates["decode"].append(num_tokens / (time.perf_counter() - middle))
        self.bare.remove(sequence)
        assert first


def others_used(begin: tuple[float, float, float]) -> float:
    """Return how many cores processes other than this one and its children used since `begin`."""
    now = reading()
    return max(0.0, (now[1] - begin[1] - (now[2] - begin[2])) / (now[0] - begin[0]))


def reading() -> tuple[float, float, float]:
    times, own = psutil.cpu_times(), psutil.Process()
    busy_s = times.user + times.system + times.nice
    children = [child.cpu_times() for child in own.children()]
    mine_s = time.process_time() + sum(child.user + child.system for child in children)
    return time.monotonic(), busy_s, mine_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", nargs="?", type=Path)
    parser.add_argument("--loads", default="0,1,2,4,2b")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--prompt", type=int, default=512)
    arguments = parser.parse_args()
    path = arguments.gguf or bundled_gguf()
    most = current_platform().num_compute_threads()
    for load_words in arguments.loads.split(","):
        sides = {"1": Side(path, 1), str(most): Side(path, most), "follows": Side(path, None)}
        with beside(load_words):
            begin = reading()
            for number in range(arguments.rounds):
                order = list(sides.values())[:: 1 if number % 2 else -1]
                for side in order:
                    side.measure(number, arguments.prompt, arguments.tokens)
            foreign = others_used(begin)
        for kind in ("decode", "prefill"):
            report(load_words, kind, {name: side.rates[kind] for name, side in sides.items()}, foreign)
        for side in sides.values():
            side.engine.close()


def report(load_words: str, kind: str, rates: dict[str, list[float]], foreign: float) -> None:
    *fixed, follows = rates.values()
    ratios = sorted(mine / max(others) for mine, *others in zip(follows, *fixed, strict=True))
    shown = ", ".join(f"{name} {statistics.median(values):7.1f}" for name, values in rates.items())
    print(
        f"load {load_words:>3}  {kind:8} {shown} tokens/s; to the better one {statistics.median(ratios):.2f}"
        f" ({ratios[0]:.2f} to {ratios[-1]:.2f}); others used {foreign:.2f} cores",
        flush=True,
    )


if __name__ == "__main__":
    main()
