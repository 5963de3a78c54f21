"""Estimated against measured memory of real models: `python -m tests.bench.bench_fit PATH... [--context N]...`.

A PATH is a GGUF file or an MLX folder. What is measured: `tests/support/memory_probe.py`.
"""

import argparse
from pathlib import Path

from tests.support.memory_table import compare

MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench_fit")
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--context", action="append", type=int)
    arguments = parser.parse_args()
    print("engine    context  weights      KV    kept  buffers  estimate  measured")
    for path in arguments.paths:
        for context_length in arguments.context or [2048, 4096, 8192]:
            need, measured = row = compare(path, context_length)
            sizes = (need.weights_bytes + need.cold_bytes, need.kv_bytes, need.kept_bytes, need.buffers_bytes)
            weights, kv, kept, buffers = (size / MIB for size in sizes)
            print(
                f"{need.engine:9} {context_length:7} {weights:8.1f} {kv:7.1f} {kept:7.1f} {buffers:8.1f} "
                f"{(need.total_bytes + need.cold_bytes) / MIB:9.1f} {measured / MIB:9.1f} MiB  {row.deviation:+.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
