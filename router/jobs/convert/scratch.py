"""The hidden folders that conversions work in: locked while somebody works there, swept when nobody does.

Not here: what is put into them (`steps.py`).
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from registry.disk import make_private

SCRATCH_PREFIX: Final = ".convert-"


def leftovers(models_dir: Path) -> Iterator[Path]:
    """Yield temporary folders of conversions that nobody works on any more, sorted, each locked until the next."""
    for folder in sorted(models_dir.glob(f"{SCRATCH_PREFIX}*")):
        with _lock(folder) as is_ours:
            if is_ours:
                yield folder


def sweep(models_dir: Path) -> None:
    """Delete what `leftovers` lists."""
    for folder in leftovers(models_dir):
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def scratch_folder(models_dir: Path) -> Iterator[Path]:
    """Make a hidden folder that is locked for as long as this process works in it, and delete it in the end.

    Args:
        models_dir: mlxr's own models folder; made when it is not there.
    """
    make_private(models_dir)
    folder = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=models_dir))
    try:
        with _lock(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Lock a folder; yield whether it was free. The system gives the lock back whatever ends the process."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = True
    except OSError:
        is_ours = False
    try:
        yield is_ours
    finally:
        os.close(fd)
