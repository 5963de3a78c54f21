"""Write the bytecode of our modules and, with their asserts as pytest writes them, of the tests.

The tests start some thousand processes, and each process that runs tests collects them all. Where Python is told not to
write bytecode, or on a first run, each of them would compile and rewrite everything by itself.
"""

import compileall
import contextlib
import os
import sys
import types
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from _pytest.assertion import rewrite  # tests/scripts/test_bytecode.py says when it has changed

FOLDERS = ("backends", "examples", "registry", "router", "tests")


def is_test(path: Path) -> bool:
    """Tell whether pytest rewrites a file."""
    return path.name == "conftest.py" or path.name.startswith("test_")


def write_rewritten(path: Path) -> None:
    """Write a test's bytecode where pytest looks for it; nothing happens where it is there."""
    folder = rewrite.get_cache_dir(path)
    pyc = folder / (path.stem + rewrite.PYC_TAIL)
    if rewrite._read_pyc(path, pyc) is None and rewrite.try_makedirs(folder):  # noqa: SLF001 - nothing public does it
        source_hash, code = rewrite._rewrite_test(path, None)  # noqa: SLF001
        rewrite._write_pyc(types.SimpleNamespace(trace=print), code, source_hash, pyc)  # noqa: SLF001


def write(path: Path) -> None:
    """Write a file's bytecode; what does not compile is told by whoever imports it."""
    if not is_test(path):
        compileall.compile_file(path, quiet=2)
        return
    with contextlib.suppress(SyntaxError):
        write_rewritten(path)


def main(root: Path) -> None:
    """Write all, as many files at a time as there are processors."""
    paths = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"))]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write, paths, chunksize=16))


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))
