"""Pictures are prepared beside the worker's steps: one after the other, no further than anybody wants, and once."""

import threading
from collections.abc import Callable

import pytest

from backends.errors import ContextLengthError, ImageError, PromptError
from backends.images.prompt_image import ImageFacts, PromptImage
from backends.process.image_loader import MAX_IMAGES, ImageLoader, PendingImages
from backends.wire.prompts import ImagePart
from tests.support.image_templates import facts_of, part, shown
from tests.support.waiting import wait_until

A, B, C = part("a"), part("b"), part("c")
PIXEL_BYTES = 3


class Preparer:
    """Notes what it is asked, and does for each picture what the test says."""

    facts: ImageFacts = facts_of("llava")

    def __init__(self, on_prepare: Callable[[ImagePart], None] = lambda _: None, num_rows: int = 2) -> None:
        self.prepared: list[ImagePart] = []
        self.looked_at: list[ImagePart] = []
        self._on_prepare = on_prepare
        self._num_rows = num_rows

    def num_rows(self, part: ImagePart) -> int:
        self.looked_at.append(part)
        if part.data == b"bad header":
            raise ImageError("no picture", param=part.param)
        return self._num_rows

    def prepare(self, part: ImagePart) -> PromptImage:
        self.prepared.append(part)
        self._on_prepare(part)
        return shown([part], num_rows=self._num_rows)[part]


def result_of(job: PendingImages) -> object:
    wait_until(lambda: job.poll() is not None, "the pictures are prepared or refused")
    return job.poll()


def test_all_pictures_of_a_request_come_together() -> None:
    preparer = Preparer()
    loader = ImageLoader(preparer, 100)
    result = result_of(loader.submit([A, B, A]))
    assert isinstance(result, dict)
    assert set(result) == {A, B}
    assert preparer.prepared == [A, B]


def test_a_picture_that_comes_again_is_not_prepared_again() -> None:
    preparer = Preparer()
    loader = ImageLoader(preparer, 100)
    result_of(loader.submit([A]))
    result_of(loader.submit([ImagePart(A.data, "elsewhere"), B]))
    assert preparer.prepared == [A, B]
    result_of(loader.submit([ImagePart(A.data, A.param, max_side=9)]))
    assert len(preparer.prepared) == 3, "another size is another picture"


def test_the_least_recently_used_are_not_kept() -> None:
    preparer = Preparer()
    loader = ImageLoader(preparer, 100, kept_bytes=2 * PIXEL_BYTES)
    for each in (A, B, A, C, A, B):
        result_of(loader.submit([each]))
    assert preparer.prepared == [A, B, C, B]


def test_a_refusal_is_the_whole_requests() -> None:
    def refuse(part: ImagePart) -> None:
        if part == B:
            raise ImageError("damaged", param=part.param)

    preparer = Preparer(refuse)
    result = result_of(ImageLoader(preparer, 100).submit([A, B, C]))
    assert isinstance(result, ImageError)
    assert result.param == B.param
    assert preparer.prepared == [A, B]


def test_what_the_context_does_not_hold_is_refused_before_anything_is_decoded() -> None:
    preparer = Preparer(num_rows=50)
    loader = ImageLoader(preparer, 100)
    result = result_of(loader.submit([A, B]))
    assert isinstance(result, ContextLengthError)
    assert (result.num_prompt_tokens, result.context_length) == (100, 100)
    assert preparer.prepared == []
    assert isinstance(result_of(loader.submit([A, B], is_bounded=False)), dict)


def test_of_what_is_kept_not_even_the_header_is_read() -> None:
    preparer = Preparer()
    loader = ImageLoader(preparer, 100)
    result_of(loader.submit([A, B]))
    result_of(loader.submit([A, B, C]))
    assert preparer.looked_at == [A, B, C]


def test_a_bad_header_is_refused_before_anything_is_decoded() -> None:
    preparer = Preparer()
    bad = ImagePart(b"bad header", "that")
    result = result_of(ImageLoader(preparer, 100).submit([A, bad]))
    assert isinstance(result, ImageError)
    assert preparer.prepared == []


def test_too_many_are_refused_at_once() -> None:
    loader = ImageLoader(Preparer(), 10**6)
    parts = [part(str(number)) for number in range(MAX_IMAGES + 1)]
    with pytest.raises(PromptError, match="the request has 257 pictures, more than 256") as caught:
        loader.submit(parts)
    assert caught.value.param == parts[-1].param


def test_no_picture_is_begun_that_nobody_wants() -> None:
    is_begun, may_go_on = threading.Event(), threading.Event()

    def hold(part: ImagePart) -> None:
        if part == A:
            is_begun.set()
            may_go_on.wait()

    preparer = Preparer(hold)
    loader = ImageLoader(preparer, 100)
    job, later = loader.submit([A, B]), loader.submit([B])
    is_begun.wait()
    job.cancel()
    later.cancel()
    last = loader.submit([C])
    may_go_on.set()
    result_of(last)
    assert preparer.prepared == [A, C]


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, RecursionError])
def test_an_error_that_no_decoder_should_raise_ends_one_request_only(error: type[Exception]) -> None:
    def fail(part: ImagePart) -> None:
        if part == A:
            raise error("oh")

    loader = ImageLoader(Preparer(fail), 100)
    result = result_of(loader.submit([A]))
    assert isinstance(result, ImageError)
    assert result.param == A.param
    assert isinstance(result_of(loader.submit([B])), dict)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_is_replaced() -> None:
    def fail(part: ImagePart) -> None:
        if part == A:
            raise KeyboardInterrupt

    loader = ImageLoader(Preparer(fail), 100)
    assert isinstance(result_of(loader.submit([A])), ImageError)
    assert isinstance(result_of(loader.submit([B])), dict)
