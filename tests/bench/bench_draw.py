"""CPU time of one draw: on the host (`backends.draw`) and by llama.cpp's chain, by vocabulary and by filters.

    python tests/bench/bench_draw.py [--vocabs 49152 151936 262144] [--rows 12] [--rounds 10]

No model: rows whose logits fall with the logarithm of their rank, as a language model's do, some steeper than others.
The chain gets its array of candidates filled anew each time, as `llama_sampler_sample` does. CPU time of the thread
that draws, so that a busy machine does not matter much; in turns, the host first and the chain first.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from backends.draw import Draw, is_drawn_here
from backends.wire.request import SamplingParams
from tests.bench.support.report import print_ratio
from tests.support.sampler_chain import SamplerChain

WAYS = {
    "temperature 1": SamplingParams(temperature=1.0, seed=1),
    "temperature 0.8": SamplingParams(temperature=0.8, seed=1),
    "0.8, top_p 0.95": SamplingParams(temperature=0.8, top_p=0.95, seed=1),
    "1, top_p 0.9": SamplingParams(temperature=1.0, top_p=0.9, seed=1),
    "0.8, top_p 0.95, min_p 0.05": SamplingParams(temperature=0.8, top_p=0.95, min_p=0.05, seed=1),
    "0.8, top_k 40": SamplingParams(temperature=0.8, top_k=40, seed=1),
}
Row = np.ndarray[Any, np.dtype[np.float32]]


def rows_of(vocab_size: int, number: int) -> list[Row]:
    """Return reproducible rows; the first are steep, the last flat."""
    rng = np.random.default_rng(vocab_size)
    ranks = np.log(np.arange(1, vocab_size + 1))
    rows = []
    for index in range(number):
        steepness = 2.2 - 1.2 * index / max(1, number - 1)
        row = (-steepness * ranks + rng.standard_normal(vocab_size)).astype(np.float32)
        rows.append(rng.permutation(row))
    return rows


def cost_ms(draw: Callable[[Row], int], row: Row) -> float:
    begin = time.thread_time()
    draw(row)
    return (time.thread_time() - begin) * 1000


def measure(name: str, params: SamplingParams, vocab_size: int, num_rows: int, num_rounds: int) -> None:
    """Print what a draw costs on both sides, and which of them mlxr takes."""
    chain = SamplerChain(params, vocab_size)
    ours = Draw(params, vocab_size) if is_drawn_here(params) else None
    host: list[float] = []
    native: list[float] = []
    rows = rows_of(vocab_size, num_rows)
    for number in range(num_rounds):
        for row in rows:
            sides: list[tuple[list[float], Callable[[Row], int]]] = [(native, chain.draw)]
            if ours is not None:
                sides.append((host, ours.draw))
            for costs, draw in sides[:: 1 if number % 2 else -1]:
                costs.append(cost_ms(draw, row))
    chain.close()
    what = f"{vocab_size:7d} tokens, {name:27}"
    shown = f"{what} chain mean {statistics.mean(native):6.3f} ms, median {statistics.median(native):6.3f}"
    if ours is None:
        print(f"{shown}; mlxr takes the chain", flush=True)
        return
    print(f"{shown}; host mean {statistics.mean(host):6.3f}, median {statistics.median(host):6.3f}")
    by_rounds = [list(zip(*[iter(costs)] * num_rows, strict=True)) for costs in (host, native)]
    means = [[statistics.mean(each) for each in side] for side in by_rounds]
    print_ratio(f"{what.strip()}, host / chain", means[0], means[1], at_most=1.0, others_cores=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabs", type=int, nargs="+", default=[49_152, 151_936, 262_144])
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    for vocab_size in arguments.vocabs:
        for name, params in WAYS.items():
            measure(name, params, vocab_size, arguments.rows, arguments.rounds)


if __name__ == "__main__":
    main()
