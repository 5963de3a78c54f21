"""The caches of conversations that survive their worker: which files there are, which of them a prompt can use.

One folder for each artifact, all of them under one root whose size is capped. The files' form and their safety are
`cache_files`'; whether one fits the loaded engine is the engine's to say. Nothing here is needed: without a usable
file a prompt is computed anew.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from backends.base import LoadedEngine
from backends.batching.prefix_index import num_common_tokens
from backends.cache_files import read_header
from backends.errors import EngineError

SUFFIX = ".kvcache"
MIN_TOKENS = 64
"""Shorter beginnings are computed faster than they are worth a file."""
SAVE_DEADLINE_S = 3.0
"""What saving may take when the worker ends; the gateway kills it after `limits.stop_timeout_s`."""
_MAX_FILES = 256


class _Saved(msgspec.Struct, frozen=True):
    path: Path
    token_ids: list[int]


class SavedCaches:
    """Owns the files of one artifact.

    Args:
        folder: The artifact's own, directly under the root that all artifacts share; made when needed.
        clock: Monotonic seconds.
    """

    def __init__(self, folder: Path, max_bytes: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._clock = clock
        self._saved: list[_Saved] = []
        self._last_id = 0
        for path in _newest_first(folder.glob(f"*{SUFFIX}"))[:_MAX_FILES]:
            header = read_header(path)
            if header is not None and len(header.token_ids) >= MIN_TOKENS:
                self._saved.append(_Saved(path, header.token_ids))

    def next_id(self) -> int:
        """Return an id for a restored sequence; the gateway's are positive."""
        self._last_id -= 1
        return self._last_id

    def could_help(self, token_ids: list[int], num_known: int) -> bool:
        """Tell whether there may be a file that `restore` would read; cheap."""
        return len(token_ids) >= num_known + MIN_TOKENS and any(
            saved.token_ids[: num_known + MIN_TOKENS] == token_ids[: num_known + MIN_TOKENS] for saved in self._saved
        )

    def restore(self, engine: LoadedEngine, sequence_id: int, token_ids: list[int], num_known: int) -> list[int]:
        """Read the file with the longest beginning of a prompt into a retired sequence.

        Args:
            num_known: First tokens that some cache of the engine holds already; a file has to hold MIN_TOKENS more.

        Returns:
            The tokens that the new retired sequence holds; [] = there is no file for it, and no sequence.
        """
        best, most = None, num_known + MIN_TOKENS - 1
        for saved in self._saved:
            num_common = num_common_tokens(saved.token_ids, token_ids, 0)
            if num_common > most and (num_common == len(saved.token_ids) or engine.limits.can_cut_cache):
                best, most = saved, num_common
        if best is None:
            return []
        self._saved.remove(best)  # read once: it is resident now, and written anew when the worker ends
        num_restored = engine.load_cache(best.path, sequence_id, best.token_ids)
        return best.token_ids[:num_restored]

    def save(self, engine: LoadedEngine, sequence_ids: Iterable[int]) -> None:
        """Write retired sequences, in this order, until the time or the room is used up.

        Files whose tokens are the beginning of a newly written one go, and then the oldest ones until the root keeps
        its cap.
        """
        ends_at = self._clock() + SAVE_DEADLINE_S
        num_left = self._max_bytes
        with contextlib.suppress(OSError, EngineError):  # a full disk costs the next start some prefill, no more
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for sequence_id in sequence_ids:
                if self._clock() >= ends_at or num_left <= 0:
                    break
                num_left -= self._save_one(engine, sequence_id)
        prune(self._folder.parent, self._max_bytes)

    def _save_one(self, engine: LoadedEngine, sequence_id: int) -> int:
        part = self._folder / f"{sequence_id & (2**64 - 1)}.new"
        num_bytes = engine.save_cache(sequence_id, part)
        header = read_header(part)
        if header is None:
            return 0
        if len(header.token_ids) < MIN_TOKENS:
            part.unlink()
            return 0
        path = self._folder / f"{_digest(header.token_ids)}{SUFFIX}"
        part.replace(path)
        for other in [saved for saved in self._saved if saved.token_ids == header.token_ids[: len(saved.token_ids)]]:
            self._saved.remove(other)
            if other.path != path:
                other.path.unlink(missing_ok=True)
        return num_bytes


def prune(root: Path, max_bytes: int) -> None:
    """Delete the oldest saved caches under `root` until all together keep the cap, and what broken saves left."""
    with contextlib.suppress(OSError):
        for path in root.glob("*/*.new*"):
            path.unlink(missing_ok=True)
        num_bytes = 0
        for path in _newest_first(root.glob(f"*/*{SUFFIX}")):
            num_bytes += path.stat().st_size
            if num_bytes > max_bytes:
                path.unlink(missing_ok=True)


def _newest_first(paths: Iterable[Path]) -> list[Path]:
    found = []
    for path in paths:
        with contextlib.suppress(OSError):  # another worker may have pruned it
            found.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(found, reverse=True)]


def _digest(token_ids: list[int]) -> str:
    return hashlib.blake2b(msgspec.msgpack.encode(token_ids), digest_size=16).hexdigest()
