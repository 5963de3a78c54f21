"""Prepares the pictures of requests on a thread of its own, so that the worker's loop goes on stepping meanwhile.

One picture at a time, however many requests wait: decoding a large one takes hundreds of megabytes. What was prepared
is kept for a while, because conversations send their pictures again with every turn.
"""

import collections
import hashlib
import queue
import threading
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from backends.errors import FOREIGN_ERRORS, ContextLengthError, ImageError, PromptError
from backends.images.prompt_image import ImageFacts, PromptImage
from backends.wire.prompts import ImagePart

MAX_IMAGES: Final = 256
"""Pictures of one request; the gateway's own bound is lower."""
KEPT_BYTES: Final = 64 * 2**20
"""Pixels of prepared pictures that are kept."""


class ImagePreparer(Protocol):
    """What the loader asks; `backends.images.processor.ImageProcessor`, which needs Pillow."""

    @property
    def facts(self) -> ImageFacts:
        """What all its pictures have in common."""

    def num_rows(self, part: ImagePart) -> int:
        """Read from a file's header how many rows there will be."""

    def prepare(self, part: ImagePart) -> PromptImage:
        """Decode a picture and make of it what the tower sees."""


class PendingImages:
    """Pictures that are being prepared, perhaps all done.

    Args:
        max_rows: Rows of all together, beyond which none is decoded; None = as many as there are.
    """

    def __init__(self, parts: Sequence[ImagePart], max_rows: int | None) -> None:
        self.parts = parts
        self.max_rows = max_rows
        self.is_cancelled = False
        self._result: Mapping[ImagePart, PromptImage] | PromptError | None = None

    def poll(self) -> Mapping[ImagePart, PromptImage] | PromptError | None:
        """Return what each picture is in a prompt, why it cannot be in one, or None while that is not known."""
        return self._result

    def cancel(self) -> None:
        """Want them no more: the next picture is not begun."""
        self.is_cancelled = True

    def finish(self, result: Mapping[ImagePart, PromptImage] | PromptError) -> None:
        """Tell what came of it."""
        self._result = result


class ImageLoader:
    """Has one loaded model's pictures prepared, request by request.

    The thread begins with the first `submit`; it is a daemon, and does not keep the process.

    Args:
        context_length: Tokens that one sequence may hold.
    """

    def __init__(self, preparer: ImagePreparer, context_length: int, kept_bytes: int = KEPT_BYTES) -> None:
        self._preparer = preparer
        self._context_length = context_length
        self._kept = _Kept(kept_bytes)
        self._jobs: queue.SimpleQueue[PendingImages] = queue.SimpleQueue()
        self._has_thread = False

    def submit(self, parts: Sequence[ImagePart], *, is_bounded: bool = True) -> PendingImages:
        """Have pictures prepared; ask the result for them by `poll`.

        Args:
            is_bounded: Whether they are refused where the context does not hold all of them.

        Raises:
            PromptError: They are too many.
        """
        if len(parts) > MAX_IMAGES:
            param = parts[MAX_IMAGES].param
            raise PromptError(
                f"{param}: the request has {len(parts)} pictures, more than {MAX_IMAGES}; leave some out", param=param
            )
        job = PendingImages(parts, self._context_length - 1 if is_bounded else None)
        if not self._has_thread:
            self._start_thread()
        self._jobs.put(job)
        return job

    def _start_thread(self) -> None:
        self._has_thread = True
        threading.Thread(target=self._run, name="image-loader", daemon=True).start()

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job.finish(self._prepared(job))
            except PromptError as exc:
                job.finish(exc)
            except FOREIGN_ERRORS as exc:
                job.finish(_failed(job, repr(exc)))
            finally:
                if job.poll() is None:  # an error that no decoder was seen to raise ends this thread
                    self._start_thread()
                    job.finish(_failed(job, "unknown error"))

    def _prepared(self, job: PendingImages) -> Mapping[ImagePart, PromptImage]:
        keys = {part: _Key(hashlib.sha256(part.data).digest(), part.max_side) for part in job.parts}
        if job.max_rows is not None:
            self._check_rows(job, keys, job.max_rows)
        images: dict[ImagePart, PromptImage] = {}
        for part, key in keys.items():
            if job.is_cancelled:
                break
            image = self._kept.get(key)
            if image is None:
                image = self._preparer.prepare(part)
                self._kept.put(key, image)
            images[part] = image
        return images

    def _check_rows(self, job: PendingImages, keys: Mapping[ImagePart, "_Key"], max_rows: int) -> None:
        """Refuse from the files' headers what the context does not hold, before anything is decoded."""
        num_rows = 0
        for part in job.parts:
            if job.is_cancelled:
                return
            known = self._kept.get(keys[part])
            num_rows += self._preparer.num_rows(part) if known is None else known.num_rows
        if num_rows > max_rows:
            raise ContextLengthError(
                num_prompt_tokens=num_rows, context_length=self._context_length, is_lower_bound=True
            )


class _Key(NamedTuple):
    digest: bytes
    max_side: int | None


class _Kept:
    """Prepared pictures, the least recently used of which go first; used by the thread only."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._images: collections.OrderedDict[_Key, PromptImage] = collections.OrderedDict()

    def get(self, key: _Key) -> PromptImage | None:
        image = self._images.get(key)
        if image is not None:
            self._images.move_to_end(key)
        return image

    def put(self, key: _Key, image: PromptImage) -> None:
        self._images[key] = image
        self._num_bytes += image.num_pixel_bytes
        while self._num_bytes > self._max_bytes:
            _, gone = self._images.popitem(last=False)
            self._num_bytes -= gone.num_pixel_bytes


def _failed(job: PendingImages, words: str) -> ImageError:
    param = job.parts[0].param
    return ImageError(f"{param}: the pictures could not be prepared ({words}); send others", param=param)
