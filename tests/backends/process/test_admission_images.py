"""Requests with pictures wait for these beside the steps, and go on, fail or are given up as others do."""

import time
from collections.abc import Sequence

import msgspec
import pytest

from backends.errors import ImageError, UnsupportedByModelError
from backends.images.prompt_image import PromptImage
from backends.output.answer import RunningAnswer
from backends.process.admission import Admission, Admitted
from backends.sequence import Tile
from backends.tile_cache import TileCache
from backends.wire.messages import Answered, Ask, Failed, Generate
from backends.wire.prompts import ChatPrompt, ForkPrompt, ImagePart, Prompt, TextPrompt
from backends.wire.questions import CountTokens, TokenCount
from backends.wire.request import Constraint, ConstraintKind, SamplingParams, SequenceSpec
from tests.backends.process.test_image_loader import Preparer
from tests.backends.prompting.test_intake import MODEL
from tests.backends.prompting.test_intake_images import Tokenizer
from tests.support.image_templates import part, says
from tests.support.waiting import wait_until

A, B = part("a"), part("b")
SPEC = SequenceSpec(SamplingParams())


class Gate:
    """Holds pictures back until it is opened."""

    def __init__(self) -> None:
        self.is_open = True

    def __call__(self, part: ImagePart) -> None:
        if part.data == b"bad":
            raise ImageError("damaged", param=part.param)
        wait_until(lambda: self.is_open, "the gate is opened")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def preparer(gate: Gate) -> Preparer:
    return Preparer(gate)


@pytest.fixture
def admission(preparer: Preparer) -> Admission:
    return Admission(Tokenizer(), msgspec.structs.replace(MODEL, context_length=1000), preparer, TileCache())


def generate(sequence_id: int, *parts: ImagePart, spec: SequenceSpec = SPEC) -> Generate:
    return Generate(sequence_id, ChatPrompt([says("user", "x", *parts)]), spec)


def results(admission: Admission, first: Admitted | None = None) -> list[Admitted]:
    found = [] if first is None else [first]

    def is_over() -> bool:
        found.extend(admission.poll(time.monotonic()))
        return not admission.has_pending

    wait_until(is_over, "nothing is pending")
    return found


def submitted(admission: Admission, messages: Sequence[Generate]) -> dict[int, Admitted]:
    first = [admission.submit(message, 0.0) for message in messages]
    found = [each for each in first if each is not None] + results(admission)
    return {each.sequence.sequence_id if isinstance(each, RunningAnswer) else each.sequence_id: each for each in found}


def answer_of(admission: Admission, message: Generate) -> RunningAnswer:
    result = submitted(admission, [message])[message.sequence_id]
    assert isinstance(result, RunningAnswer), result
    return result


def test_a_request_waits_for_its_pictures_while_others_start(admission: Admission, gate: Gate) -> None:
    gate.is_open = False
    assert admission.submit(generate(1, A), 0.0) is None
    assert isinstance(admission.submit(generate(2), 0.0), RunningAnswer)
    assert admission.pending_ids() == [1]
    assert admission.poll(0.0) == []
    gate.is_open = True
    (answer,) = results(admission)
    assert isinstance(answer, RunningAnswer)
    assert len(answer.sequence.images) == 1


def test_equal_pictures_are_one_tile_in_all_sequences(admission: Admission) -> None:
    found = submitted(admission, [generate(1, A), generate(2, A, B), generate(3, ImagePart(A.data, "elsewhere"))])
    tiles = [each.sequence.spans[0].tile for each in found.values() if isinstance(each, RunningAnswer)]
    assert len(tiles) == 3
    assert len(set(map(id, tiles))) == 1


def test_a_picture_that_would_be_taken_for_another_one_is_refused() -> None:
    class Colliding(Preparer):
        def prepare(self, part: ImagePart) -> PromptImage:
            def other(tile: Tile) -> Tile:
                tile.digest = bytes(31) + part.data
                return tile

            return super().prepare(part).with_tiles(other)

    admission = Admission(Tokenizer(), msgspec.structs.replace(MODEL, context_length=1000), Colliding())
    found = submitted(admission, [generate(1, A), generate(2, B)])
    assert isinstance(found[2], Failed)
    assert (found[2].code, found[2].param) == ("invalid_image", B.param)
    assert found[2].message.startswith(f"{B.param}: the picture cannot be told from another one")


def test_a_picture_that_cannot_be_used_fails_its_request_only(admission: Admission) -> None:
    found = submitted(admission, [generate(1, A, ImagePart(b"bad", "messages[0]")), generate(2, B)])
    assert isinstance(found[1], Failed)
    assert (found[1].code, found[1].param) == ("invalid_image", "messages[0]")
    assert isinstance(found[2], RunningAnswer)


def test_choices_wait_for_the_pictures_of_the_first(admission: Admission, gate: Gate, preparer: Preparer) -> None:
    gate.is_open = False
    for message in (generate(1, A), Generate(2, ForkPrompt(1), SPEC), Generate(3, ForkPrompt(2), SPEC)):
        assert admission.submit(message, 0.0) is None
    gate.is_open = True
    answers = [each for each in results(admission) if isinstance(each, RunningAnswer)]
    assert len({tuple(answer.sequence.token_ids) for answer in answers}) == 1
    assert len({answer.sequence.spans for answer in answers}) == 1
    assert len(answers) == 3
    assert preparer.prepared == [A]
    late = admission.submit(Generate(4, ForkPrompt(1), SPEC), 0.0)
    assert isinstance(late, RunningAnswer)
    assert late.sequence.images == answers[0].sequence.images


def test_a_choice_outlives_the_first_that_is_given_up(admission: Admission, gate: Gate) -> None:
    gate.is_open = False
    admission.submit(generate(1, A), 0.0)
    admission.submit(Generate(2, ForkPrompt(1), SPEC), 0.0)
    admission.forget(1)
    gate.is_open = True
    (answer,) = results(admission)
    assert isinstance(answer, RunningAnswer)
    assert answer.sequence.sequence_id == 2


def test_what_is_given_up_is_not_prepared_any_further(admission: Admission, gate: Gate, preparer: Preparer) -> None:
    gate.is_open = False
    admission.submit(generate(1, A, B), 0.0)
    wait_until(lambda: preparer.prepared, "the first picture is begun")
    pending = admission.pending(1)
    assert pending is not None
    assert pending.usage.num_prompt_tokens == 0
    admission.forget(1)
    assert not admission.has_pending
    gate.is_open = True
    answer_of(admission, generate(2, part("c")))
    assert preparer.prepared == [A, part("c")]


def test_a_constraint_is_compiled_when_the_pictures_are_there(admission: Admission) -> None:
    spec = msgspec.structs.replace(SPEC, constraint=Constraint(ConstraintKind.REGEX, "[0-9]+", "regex"))
    assert answer_of(admission, generate(1, A, spec=spec)).editor is not None
    spec = msgspec.structs.replace(SPEC, constraint=Constraint(ConstraintKind.REGEX, "(", "regex"))
    failed = submitted(admission, [generate(2, A, spec=spec)])[2]
    assert isinstance(failed, Failed)
    assert failed.param == "regex"


def test_a_pause_while_it_waits_is_kept(admission: Admission, gate: Gate) -> None:
    gate.is_open = False
    admission.submit(generate(1, A), 0.0)
    pending = admission.pending(1)
    assert pending is not None
    pending.is_paused = True
    gate.is_open = True
    (answer,) = results(admission)
    assert isinstance(answer, RunningAnswer)
    assert answer.is_paused


@pytest.mark.parametrize(
    "prompt",
    [
        ChatPrompt([says("user", "x", A, B)]),
        ChatPrompt([says("user", "x", A), says("assistant", "y"), says("user", B)], truncates=True),
        TextPrompt("a<m>b", images=[A], image_marker="<m>"),
    ],
)
def test_a_prompt_is_counted_as_it_is_generated_from(admission: Admission, prompt: Prompt) -> None:
    question = CountTokens(prompt)
    (counted,) = results(admission, admission.submit_count(Ask(1, question), question, 0.0))
    answer = answer_of(admission, Generate(2, prompt, SPEC))
    assert counted == Answered(1, TokenCount(answer.sequence.num_prompt_tokens))


def test_a_count_keeps_no_tile(preparer: Preparer) -> None:
    tiles = TileCache()
    admission = Admission(Tokenizer(), msgspec.structs.replace(MODEL, context_length=1000), preparer, tiles)
    question = CountTokens(ChatPrompt([says("user", "x", A)]))
    results(admission, admission.submit_count(Ask(1, question), question, 0.0))
    assert tiles.num_bytes == 0


def test_a_picture_that_cannot_be_used_fails_the_count(admission: Admission) -> None:
    question = CountTokens(ChatPrompt([says("user", ImagePart(b"bad", "that"))]))
    (failed,) = results(admission, admission.submit_count(Ask(1, question), question, 0.0))
    assert isinstance(failed, Failed)
    assert failed.param == "that"


def test_more_than_the_context_holds_is_refused_with_the_number() -> None:
    admission = Admission(Tokenizer(), MODEL, Preparer(num_rows=60))
    failed = submitted(admission, [generate(1, A, B)])[1]
    assert isinstance(failed, Failed)
    assert (failed.code, failed.details) == ("context_length_exceeded", {"n_prompt_tokens": 120, "n_ctx": 100})


def test_a_model_whose_tower_is_not_known_says_why() -> None:
    reason = UnsupportedByModelError("the model cannot see images: its folder lacks a file; pull it anew")
    admission = Admission(Tokenizer(), MODEL, reason)
    failed = admission.submit(generate(1, A), 0.0)
    assert isinstance(failed, Failed)
    assert failed.message == f"{A.param}: {reason}"
    assert failed.param == A.param
    assert isinstance(admission.submit(generate(2), 0.0), RunningAnswer)


def test_a_text_model_refuses_pictures_by_the_field() -> None:
    failed = Admission(Tokenizer(), MODEL).submit(generate(1, A), 0.0)
    assert isinstance(failed, Failed)
    assert (failed.code, failed.param) == ("unsupported_by_model", A.param)
