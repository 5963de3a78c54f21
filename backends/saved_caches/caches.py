"""The saved caches of one artifact: which there are, which of them a prompt can use, and writing further ones.

The files' form and their safety are `cache_files`'; whether one fits the loaded engine is said by its fingerprint.
Which caches are worth a file is not decided here. Nothing here is needed: without a usable file a prompt is computed
anew.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from backends.base import LoadedEngine
from backends.cache_files import CacheHeader, CacheWriter, read_header
from backends.errors import EngineError
from backends.saved_caches.folder import SUFFIX, files_of, max_bytes_for, prune, touch

MIN_TOKENS: Final = 64
"""Shorter beginnings are computed faster than they are worth a file."""
MIN_GAIN: Final = 0.1
"""A file is read only for more tokens than this share of those that it holds: to read one takes at most a tenth of what
it takes to compute it."""
_MAX_LOST: Final = 1 / 8
"""The share of its tokens that a file may have beside a newer one's, and go: an answer that history left out."""
_MAX_FILES: Final = 64

_Ids = np.ndarray[Any, np.dtype[np.int64]]


class SavedCounts(msgspec.Struct):
    """What was done with files since the model was loaded; each number only grows.

    Attributes:
        num_loaded: Caches that were read.
        loaded_tokens: What they held.
        load_s: What reading them took.
        num_written: Caches that were written.
        num_discarded: Files that were thrown away because they were damaged or of another version.
    """

    num_loaded: int = 0
    loaded_tokens: int = 0
    loaded_bytes: int = 0
    load_s: float = 0.0
    num_written: int = 0
    written_bytes: int = 0
    num_discarded: int = 0


class _Saved(NamedTuple):
    path: Path
    token_ids: _Ids
    owner: str | None
    places: tuple[int, ...]

    @property
    def num_tokens(self) -> int:
        return len(self.token_ids)


class Discarded(NamedTuple):
    """A file that was thrown away, and why."""

    path: Path
    reason: str


class SavedCaches:
    """Owns the files of one artifact on one engine.

    Args:
        engine: With the artifact.
        folder: The artifact's own, directly under the root that all artifacts share; made when needed.
        max_bytes: Of the root; None = by the free disk.
        clock: Monotonic seconds.

    Attributes:
        discarded: Files that were thrown away; whoever tells of them takes them out.
    """

    def __init__(
        self,
        engine: LoadedEngine,
        folder: Path,
        max_bytes: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts = SavedCounts()
        self.discarded: list[Discarded] = []
        self._engine = engine
        self._folder = folder
        self._max_bytes = max_bytes
        self._clock = clock
        self._saved: list[_Saved] = []
        self._writing: tuple[CacheWriter, CacheHeader] | None = None
        self._last_id = 0
        for file in files_of(folder)[:_MAX_FILES]:
            self._find(file.path)

    def next_id(self) -> int:
        """Return an id for a restored sequence; the gateway's are positive."""
        self._last_id -= 1
        return self._last_id

    def could_help(self, token_ids: Sequence[int], num_known: int, owner: str | None = None) -> bool:
        """Tell whether there is a file that `restore` would read."""
        return self._best(token_ids, num_known, owner) is not None

    def num_covered(self, token_ids: Sequence[int], owner: str | None = None) -> int:
        """Return how many first tokens of a prompt the best file has, which counts as used."""
        ids, best, most = np.array(token_ids, dtype=np.int64), None, 0
        for saved in self._saved:
            num_usable = self._num_usable(saved, ids, owner)
            if num_usable > most and saved.path.exists():
                best, most = saved, num_usable
        if best is not None:
            touch(best.path)
        return most

    def restore(
        self, sequence_id: int, token_ids: Sequence[int], num_known: int, owner: str | None = None
    ) -> list[int]:
        """Read the file with the longest beginning of a prompt into a retired sequence.

        Args:
            num_known: First tokens that some cache of the engine holds already.

        Returns:
            The tokens that the new retired sequence holds; [] = there is no file for it, and no sequence.
        """
        while (best := self._best(token_ids, num_known, owner)) is not None:
            started_at = self._clock()
            held: list[int] = best.token_ids.tolist()
            num_loaded = self._engine.load_cache(best.path, sequence_id, held)
            if num_loaded:
                touch(best.path)
                self._count_loaded(best, num_loaded, started_at)
                return held[:num_loaded]
            self._saved.remove(best)
            self._discard(best.path, "it is damaged")
        return []

    @property
    def is_writing(self) -> bool:
        """Whether a file has been begun and is not complete."""
        return self._writing is not None

    def begin(self, sequence_id: int, owner: str | None = None, places: Collection[int] = ()) -> bool:
        """Begin to write a retired sequence, for `write_piece`; return whether there is anything to be written.

        Args:
            places: Of the checkpoints that are worth it.
        """
        assert self._writing is None, "one after the other"
        cache = self._engine.export_cache(sequence_id, places)
        if cache is None or len(cache.token_ids) < MIN_TOKENS or cache.num_bytes > self._bound:
            return False
        if self.num_covered(cache.token_ids, owner) == len(cache.token_ids):
            return False
        header = CacheHeader(self._engine.cache_fingerprint, cache.token_ids, owner, cache.places)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = self._folder / f"{_digest(header)}{SUFFIX}"
            self._writing = CacheWriter(path, header.fingerprint, cache, owner), header
        except (OSError, EngineError):  # a full disk costs the next start some prefill, no more
            return False
        return True

    def write_piece(self) -> None:
        """Write a little more of what was begun; the last piece gives the file its name."""
        assert self._writing is not None, "begun before"
        writer, header = self._writing
        try:
            is_complete = writer.write_piece()
        except EngineError:
            self._writing = None
            return
        if is_complete:
            self._writing = None
            self._on_written(writer, header)

    def give_up(self) -> None:
        """Leave what was begun, and the memory that it keeps."""
        if self._writing is not None:
            self._writing[0].give_up()
            self._writing = None

    @property
    def _bound(self) -> int:
        return max_bytes_for(self._folder.parent, self._max_bytes)

    def _find(self, path: Path) -> None:
        """Take up a file that is there; throw it away where it can be of no use to anybody."""
        header = read_header(path)
        if header is None:
            self._discard(path, "it is no saved cache of this version of mlxr")
        elif header.fingerprint == self._engine.cache_fingerprint:
            if len(header.token_ids) >= MIN_TOKENS:
                self._saved.append(_saved(path, header))
        elif _library_of(header.fingerprint) != _library_of(self._engine.cache_fingerprint):
            self._discard(path, f"it is of {_library_of(header.fingerprint)}")
        # Else it is of the same model, loaded otherwise, as it may be again.

    def _best(self, token_ids: Sequence[int], num_known: int, owner: str | None) -> _Saved | None:
        if len(token_ids) < num_known + MIN_TOKENS or not self._saved:
            return None
        ids, best, most = np.array(token_ids, dtype=np.int64), None, num_known
        for saved in self._saved:
            num_usable = self._num_usable(saved, ids, owner)
            is_worth_it = num_usable - num_known >= max(MIN_TOKENS, MIN_GAIN * saved.num_tokens)
            if num_usable > most and is_worth_it:
                best, most = saved, num_usable
        return best

    def _num_usable(self, saved: _Saved, ids: _Ids, owner: str | None) -> int:
        """Return how many first tokens of a prompt can be taken from a file."""
        limits = self._engine.limits
        if saved.owner != owner or saved.num_tokens > min(limits.num_cells, limits.num_retired_tokens):
            return 0
        num_common = _num_common(saved.token_ids, ids)
        if num_common == saved.num_tokens or limits.can_cut(saved.num_tokens):
            return num_common
        return max((place for place in saved.places if place <= num_common), default=0)

    def _on_written(self, writer: CacheWriter, header: CacheHeader) -> None:
        """Take up a complete file; those that it can stand for, and then the longest unused ones, go."""
        self.counts.num_written += 1
        self.counts.written_bytes += writer.num_bytes
        newest = _saved(writer.path, header)
        for other in list(self._saved):
            num_lost = other.num_tokens - _num_common(other.token_ids, newest.token_ids)
            is_needless = other.owner == newest.owner and num_lost <= _MAX_LOST * other.num_tokens
            is_cut = self._engine.limits.can_cut(newest.num_tokens) or {*other.places} <= {*newest.places}
            stands_for = other.num_tokens <= newest.num_tokens and is_cut
            if other.path == newest.path:
                self._saved.remove(other)
            elif is_needless and stands_for:
                self._saved.remove(other)
                with contextlib.suppress(OSError):
                    other.path.unlink(missing_ok=True)
        self._saved.append(newest)
        prune(self._folder.parent, self._max_bytes)

    def _count_loaded(self, saved: _Saved, num_tokens: int, started_at: float) -> None:
        self.counts.num_loaded += 1
        self.counts.loaded_tokens += num_tokens
        self.counts.load_s += self._clock() - started_at
        with contextlib.suppress(OSError):
            self.counts.loaded_bytes += saved.path.stat().st_size

    def _discard(self, path: Path, reason: str) -> None:
        if not path.exists():
            return  # another worker has deleted it, which is no damage
        self.counts.num_discarded += 1
        self.discarded.append(Discarded(path, reason))
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _saved(path: Path, header: CacheHeader) -> _Saved:
    return _Saved(path, np.array(header.token_ids, dtype=np.int64), header.owner, header.places)


def _num_common(held: _Ids, ids: _Ids) -> int:
    num = min(len(held), len(ids))
    differing = np.flatnonzero(held[:num] != ids[:num])
    return int(differing[0]) if differing.size else num


def _library_of(fingerprint: str) -> str:
    """Return engine and version, with which a fingerprint begins."""
    return fingerprint.partition("|")[0].strip()


def _digest(header: CacheHeader) -> str:
    return hashlib.blake2b(msgspec.msgpack.encode(header), digest_size=16).hexdigest()
