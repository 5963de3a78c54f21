"""Pictures in a worker process: whatever file a request carries, it is seen at its size or refused with the reason.

The fake engine has the towers of all families, as far as pictures are prepared for them.
"""

from collections.abc import Callable, Iterator

import pytest

from backends.images.families import FAMILIES
from backends.machine.current import current_platform
from backends.wire.load import VisionSpec
from backends.wire.messages import Aborted, Ask, Cancel, Generate, Shutdown
from backends.wire.prompts import ChatPrompt, ForkPrompt, ImagePart, Prompt, PromptMessage, TextPrompt
from backends.wire.questions import ApplyTemplate, CountTokens, Text, TokenCount
from backends.wire.request import SequenceSpec
from tests.support import image_files, tiny_projector
from tests.support.engine_driver import GREEDY, Answer
from tests.support.image_templates import says
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.slow

ASK = SequenceSpec(GREEDY, max_tokens=1)
CASES = image_files.cases()
SMALL = image_files.encoded(image_files.picture(), "PNG")
MAX_RISE_BYTES = 700 * 2**20
"""8 bytes and 3 more for each of 40 million pixels, the file in frames and buffers, and what was loaded meanwhile."""


class Seeing:
    """A worker that sees as models of a family do."""

    def __init__(self, family: str) -> None:
        self.process = WorkerProcess("fake", context_length=20_000)
        self._last_id = 0
        self._family = family

    def load(self, context_length: int = 20_000) -> None:
        vision = VisionSpec(
            family=self._family,
            projector_metadata=tiny_projector.metadata_of(self._family),
            text_width=tiny_projector.TEXT_WIDTH,
            fingerprint="tower",
        )
        self.process.load(vision=vision, context_length=context_length)

    def send(self, prompt: Prompt, spec: SequenceSpec = ASK) -> int:
        self._last_id += 1
        self.process.send(Generate(self._last_id, prompt, spec))
        return self._last_id

    def ask(self, question: CountTokens | ApplyTemplate) -> object:
        self._last_id += 1
        self.process.send(Ask(self._last_id, question))
        self.process.wait_for_ends([self._last_id])
        (terminal,) = self.process.answer(self._last_id).terminals
        return getattr(terminal, "answer", terminal)

    def answer(self, prompt: Prompt) -> Answer:
        sequence_id = self.send(prompt)
        self.process.wait_for_ends([sequence_id])
        return self.process.answer(sequence_id)


@pytest.fixture(scope="module")
def seeing() -> Iterator[Callable[[str], Seeing]]:
    """Return a worker of each family, loaded once."""
    workers: dict[str, Seeing] = {}

    def of(family: str) -> Seeing:
        if family not in workers:
            workers[family] = Seeing(family)
            workers[family].process.__enter__()
            workers[family].load()
        return workers[family]

    yield of
    for worker in workers.values():
        worker.process.__exit__(None, None, None)


def peak_bytes_of(worker: Seeing) -> int:
    peak_bytes = current_platform().peak_bytes_of(worker.process.process.pid)
    assert peak_bytes is not None
    return peak_bytes


def photo(data: bytes = SMALL, max_side: int | None = 448) -> ImagePart:
    return ImagePart(data, "messages[0].content[1]", max_side)


def about(*parts: ImagePart) -> ChatPrompt:
    return ChatPrompt([says("user", "What is this? ", *parts)])


def test_every_file_is_seen_at_its_size_or_refused_with_the_reason(seeing: Callable[[str], Seeing]) -> None:
    worker = seeing("qwen2_vl")
    sent = {worker.send(about(photo(case.data))): case for case in CASES}
    worker.process.wait_for_ends(list(sent))
    wrong = []
    for sequence_id, case in sent.items():
        answer = worker.process.answer(sequence_id)
        if answer.num_prompt_tokens is None:
            failed = answer.failed
            is_right = (case.refusal is not None or case.may_fail) and (case.refusal or "") in failed.message
            is_right = is_right and (failed.code, failed.param) == ("invalid_image", "messages[0].content[1]")
        else:
            (image,) = answer.end.images
            is_right = case.refusal is None and case.size in (None, image.original)
        if not is_right:
            wrong.append((case.name, answer.terminals))
    assert wrong == []


def test_odd_files_write_nothing_to_stderr_and_memory_is_bounded() -> None:
    large = image_files.encoded(image_files.picture(8000, 5000), "PNG", compress_level=1)
    worker = Seeing("gemma3")
    with worker.process as process:
        worker.load()
        worker.answer(about(photo()))
        before = peak_bytes_of(worker)
        ids = [worker.send(about(photo(case.data))) for case in CASES]
        ids += [worker.send(about(*[photo(large + bytes([number])) for number in range(4)]))]
        process.wait_for_ends(ids)
        assert process.answer(ids[-1]).end.usage.num_image_tokens == 4 * 256
        rise = peak_bytes_of(worker) - before
        process.interrupt()
        process.close_socket()
        process.wait_for_exit()
        assert process.stderr_text() == ""
    assert rise < MAX_RISE_BYTES


@pytest.mark.parametrize("family", FAMILIES)
def test_sixteen_pictures_are_seen_in_every_role_and_turn(family: str, seeing: Callable[[str], Seeing]) -> None:
    worker = seeing(family)
    files = [image_files.encoded(image_files.picture(60 + number, 40), "PNG") for number in range(16)]
    pictures = [ImagePart(data, f"picture {number}", 192) for number, data in enumerate(files)]
    messages: list[PromptMessage] = [says("system", "Rules", pictures[0])]
    for start in range(1, 16, 3):
        messages += [says("user", "one ", *pictures[start : start + 2]), says("assistant", pictures[start + 2])]
    messages.append(says("user", "well?"))
    prompt = ChatPrompt(messages)
    answer = worker.answer(prompt)
    assert [image.original for image in answer.end.images] == [(60 + number, 40) for number in range(16)]
    assert sum(image.num_tokens for image in answer.end.images) == answer.end.usage.num_image_tokens
    assert worker.ask(CountTokens(prompt)) == TokenCount(answer.end.usage.num_prompt_tokens)


def test_equal_pictures_have_equal_ids_whatever_file_they_are_in(seeing: Callable[[str], Seeing]) -> None:
    worker = seeing("qwen2_vl")
    spec = SequenceSpec(GREEDY, max_tokens=1, wants_token_ids=True)
    kinds = ["PNG", "BMP", "PNG"]
    ids = [worker.send(about(photo(image_files.encoded(image_files.picture(), kind))), spec) for kind in kinds]
    ids.append(worker.send(about(photo(image_files.encoded(image_files.picture(70, 30), "PNG"))), spec))
    worker.process.wait_for_ends(ids)
    prompts = []
    for sequence_id in ids:
        end = worker.process.answer(sequence_id).end
        assert end.token_ids is not None
        prompts.append(end.token_ids[: end.usage.num_prompt_tokens])
    assert prompts[0] == prompts[1] == prompts[2] != prompts[3]


def test_an_exchange_with_a_picture_is_gone_on_from_by_its_tokens(seeing: Callable[[str], Seeing]) -> None:
    worker = seeing("qwen2_vl")
    spec = SequenceSpec(GREEDY, max_tokens=4, wants_token_ids=True)
    sequence_id = worker.send(about(photo()), spec)
    worker.process.wait_for_ends([sequence_id])
    end = worker.process.answer(sequence_id).end
    assert end.token_ids is not None
    later = worker.answer(ChatPrompt([says("user", "And now?")], context_ids=end.token_ids)).end
    assert later.usage.num_image_tokens == end.usage.num_image_tokens > 0
    assert later.usage.num_cached_tokens >= end.usage.num_prompt_tokens
    forged = [*end.token_ids[:3], max(end.token_ids), *end.token_ids[-3:]]
    failed = worker.answer(ChatPrompt([says("user", "And now?")], context_ids=forged)).failed
    assert (failed.code, failed.param) == ("invalid_prompt", "context")
    assert "no longer knows" in failed.message


def test_choices_see_the_same_picture(seeing: Callable[[str], Seeing]) -> None:
    worker = seeing("llava")
    first, *others = range(2 * 10**6, 2 * 10**6 + 4)
    choices = [Generate(sequence_id, ForkPrompt(first), ASK) for sequence_id in others]
    worker.process.send(Generate(first, about(photo()), ASK), *choices)
    worker.process.wait_for_ends([first, *others])
    ends = [worker.process.answer(sequence_id).end for sequence_id in (first, *others)]
    assert {end.usage.num_image_tokens for end in ends} == {729}


def test_a_raw_text_sees_pictures_at_its_markers(seeing: Callable[[str], Seeing]) -> None:
    worker = seeing("llava")
    prompt = TextPrompt("a<__media__>", images=[photo()], image_marker="<__media__>")
    answer = worker.answer(prompt)
    assert answer.end.usage.num_prompt_tokens == 1 + 729 + 1  # a line end comes behind the picture
    assert worker.ask(CountTokens(prompt)) == TokenCount(731)


def test_people_are_shown_what_the_template_writes(seeing: Callable[[str], Seeing]) -> None:
    text = seeing("gemma3").ask(ApplyTemplate(about(photo())))
    assert isinstance(text, Text)
    assert "What is this? \n<start_of_image>" in text.text


def test_what_the_context_does_not_hold_is_refused_with_the_number() -> None:
    worker = Seeing("gemma3")
    with worker.process:
        worker.load(context_length=500)
        failed = worker.answer(about(photo(), photo(), photo())).failed
        assert failed.code == "context_length_exceeded"
        assert failed.details == {"n_prompt_tokens": 768, "n_ctx": 500}
        assert worker.answer(about(photo())).end.usage.num_image_tokens == 256


def slow_to_decode(num: int) -> list[ImagePart]:
    large = image_files.encoded(image_files.picture(6000, 4000), "PNG", compress_level=1)
    return [photo(large + bytes([number])) for number in range(num)]


def test_a_request_is_given_up_while_its_pictures_are_decoded(seeing: Callable[[str], Seeing]) -> None:
    worker = seeing("gemma3")
    sequence_id = worker.send(about(*slow_to_decode(6)))
    worker.process.send(Cancel(sequence_id))
    other = worker.send(about(photo()))
    worker.process.wait_for_ends([sequence_id, other])
    assert isinstance(worker.process.answer(sequence_id).terminals[0], Aborted)
    assert len(worker.process.answer(other).end.images) == 1


def test_a_count_is_given_up_too(seeing: Callable[[str], Seeing]) -> None:
    worker = seeing("gemma3")
    sequence_id = 10**6
    worker.process.send(Ask(sequence_id, CountTokens(about(*slow_to_decode(6)))), Cancel(sequence_id))
    worker.process.wait_for_ends([sequence_id])
    assert isinstance(worker.process.answer(sequence_id).terminals[0], Aborted)
    assert worker.ask(CountTokens(about(photo()))) == TokenCount(worker.answer(about(photo())).num_prompt_tokens or 0)


def test_a_worker_that_is_to_end_waits_for_no_picture() -> None:
    worker = Seeing("gemma3")
    with worker.process as process:
        worker.load()
        sequence_id = worker.send(about(*slow_to_decode(16)))
        process.send(Shutdown())
        process.wait_for_ends([sequence_id])
        assert isinstance(process.answer(sequence_id).terminals[0], Aborted)
        assert process.wait_for_exit() == 0
        assert process.stderr_text() == ""
