"""Time of scans and of registry queries with a thousand GGUF files of a few hundred bytes, and of the background watch.

    python tests/bench/bench_registry.py [NUM_FILES] [ROUNDS] [BIG]

Medians over the rounds. The headers are tiny but for two lines: 100 files with 49,152 tokens and as many merges, as the
bundled model has; a vocabulary each, and five in turn. A vocabulary costs nothing once its file is known. A third
argument, BIG, adds as many such files as there are small ones, a vocabulary each: 2 MB a file.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from registry.scan import ScanRoot, scan
from registry.scan.watch import FileWatch
from registry.store import Registry
from tests.registry.gguf_builder import STRING, array, llama_model

DEFAULT_FILES = 1000
DEFAULT_ROUNDS = 5


def milliseconds(action: Callable[[], object], num_rounds: int) -> float:
    times = []
    for _ in range(num_rounds):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000


def first_scan_with_vocabularies(folder: Path, num_files: int, num_vocabularies: int) -> float:
    """Return milliseconds per file of a first scan of files with vocabularies of real size."""
    models = folder / f"vocabularies-{num_vocabularies}"
    models.mkdir()
    words = [f"t0000-{number}" for number in range(49_152)]
    like = data = llama_model(
        tokenizer__ggml__tokens=array(STRING, words),
        tokenizer__ggml__merges=array(STRING, words),
        tokenizer__ggml__scores=array(6, [0.0] * len(words)),
        tokenizer__ggml__token_type=array(5, [1] * len(words)),
    )
    for index in range(num_files):
        if index * num_vocabularies % num_files < num_vocabularies:
            data = like.replace(b"t0000-", b"t%04d-" % index)
        (models / f"model-{index:04}.gguf").write_bytes(data)
    with Registry(folder / f"vocabularies-{num_vocabularies}.sqlite3") as registry:
        return milliseconds(lambda: scan(registry, [ScanRoot(path=models)]), 1) / num_files


def main() -> None:
    num_files = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FILES
    num_rounds = int(sys.argv[2]) if len(sys.argv) > 2 else DEFAULT_ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        data = llama_model()
        for index in range(num_files):
            path = models / f"org{index % 20}" / f"repo{index % 100}" / f"model-{index}-Q4_K_M.gguf"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        roots = [ScanRoot(path=models, is_owned=True)]
        first: list[float] = []
        for index in range(num_rounds):
            with Registry(Path(folder) / f"{index}.sqlite3") as registry:
                first.append(milliseconds(lambda registry=registry: scan(registry, roots), 1))  # type: ignore[misc]
        print(f"{num_files} GGUF files, medians of {num_rounds} rounds")
        print(f"  first scan:                 {statistics.median(first):8.1f} ms")
        for num_vocabularies in (100, 5):
            per_file = first_scan_with_vocabularies(Path(folder), 100, num_vocabularies)
            print(f"  100 files, {num_vocabularies:3} vocabularies:{per_file:11.2f} ms per file")
        if sys.argv[3:]:
            per_file = first_scan_with_vocabularies(Path(folder), num_files, num_files)
            print(f"  {num_files} files, a vocabulary each:{per_file * num_files:10.1f} ms")
        with Registry(Path(folder) / "0.sqlite3") as registry:
            print(f"  scan, nothing changed:      {milliseconds(lambda: scan(registry, roots), num_rounds):8.1f} ms")
            watched: set[str] = set()
            scan(registry, roots, watched=watched)
            watch = FileWatch(watched)
            print(f"  one look of the watch:      {milliseconds(watch.look, num_rounds):8.1f} ms")
            rounds = num_rounds * 4
            print(f"  summaries:                  {milliseconds(registry.models.summaries, rounds):8.2f} ms")
            print(f"  models, with facts:         {milliseconds(registry.models.list, rounds):8.2f} ms")
            by_name = milliseconds(lambda: registry.models.get("model-500"), rounds)
            print(f"  model by name:              {by_name:8.2f} ms")
            registry.aliases.set("another", "model-500")
            by_alias = milliseconds(lambda: registry.models.get("another"), rounds)
            print(f"  model by alias:             {by_alias:8.2f} ms")


if __name__ == "__main__":
    main()
