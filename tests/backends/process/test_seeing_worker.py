"""A worker whose model tells colours: what it says of pictures is right, on both engines."""

import importlib.util
import json
from collections.abc import Iterator

import pytest

from backends.fake.tower import COLOURS
from backends.wire.messages import Generate, Loaded
from backends.wire.prompts import ChatPrompt, ImagePart, PromptMessage
from backends.wire.request import Constraint, ConstraintKind, SamplingParams, SequenceSpec
from tests.backends.conftest import REAL_ENGINES
from tests.support.colour_model import QUESTIONS, Question, painted
from tests.support.engine_driver import Answer
from tests.support.image_prompts import png, user
from tests.support.tiny_vision import VisionModel
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.slow

GREEDY = SamplingParams(temperature=0)
ONE_COLOUR = QUESTIONS[0]
FOUR = {
    "type": "object",
    "properties": {
        "colours": {"type": "array", "items": {"enum": [*COLOURS]}, "minItems": 4, "maxItems": 4},
    },
    "required": ["colours"],
    "additionalProperties": False,
}


class SeeingWorker:
    """A worker with the model, and its questions so far."""

    def __init__(self, process: WorkerProcess) -> None:
        self._process = process
        self._num_asked = 0

    def ask(
        self,
        *messages: PromptMessage,
        start: str | None = None,
        num_tokens: int = 1,
        constraint: Constraint | None = None,
    ) -> Answer:
        (answer,) = self.ask_all([ChatPrompt(list(messages), continuation=start)], num_tokens, constraint)
        return answer

    def ask_all(self, prompts: list[ChatPrompt], num_tokens: int, constraint: Constraint | None = None) -> list[Answer]:
        """Ask all at the same time."""
        sequence_ids = [self._num_asked + 1 + index for index in range(len(prompts))]
        self._num_asked += len(prompts)
        spec = SequenceSpec(GREEDY, num_tokens, constraint=constraint)
        self._process.send(*(Generate(i, prompt, spec) for i, prompt in zip(sequence_ids, prompts, strict=True)))
        self._process.wait_for_ends(sequence_ids)
        return [self._process.answer(i) for i in sequence_ids]


@pytest.fixture(scope="module", params=REAL_ENGINES)
def worker(request: pytest.FixtureRequest, colour_model: VisionModel) -> Iterator[SeeingWorker]:
    name = request.param
    if name == "mlx" and importlib.util.find_spec("mlx_vlm") is None:
        pytest.skip("mlx-vlm is not installed")
    with WorkerProcess(name) as process:
        spec = colour_model.load_spec(name, context_length=1024, kv_cells=4096, step_tokens=None, num_threads=2)
        assert isinstance(process.load_spec(spec), Loaded)
        yield SeeingWorker(process)


def question_of(question: Question) -> PromptMessage:
    return user(question.before, painted(*question.quarters), question.after)


@pytest.mark.parametrize("question", QUESTIONS[1:3])
def test_it_tells_the_right_colours(worker: SeeingWorker, question: Question) -> None:
    answer = worker.ask(question_of(question), start=question.start or None, num_tokens=question.num_tokens)
    assert question.answer in answer.text


def test_it_reports_the_right_colours_as_json(worker: SeeingWorker) -> None:
    quarters = ("red", "white", "blue", "green")
    constraint = Constraint(ConstraintKind.JSON_SCHEMA, json.dumps(FOUR), "response_format")
    question = user("The four quarters of the picture are:", painted(*quarters), ".\nReport them as JSON.")
    assert json.loads(worker.ask(question, num_tokens=40, constraint=constraint).text) == {"colours": [*quarters]}


def test_it_says_what_it_was_shown_and_makes_no_row_twice(worker: SeeingWorker) -> None:
    picture = painted("green", "purple", "green", "purple", side=50)
    before = "The four quarters of the picture are:"
    first = worker.ask(user(before, picture, ".\nWhich are they?")).end
    (seen,) = first.images
    assert (seen.original, seen.seen, seen.num_tokens, seen.is_cached) == ((50, 50), (16, 16), 4, False)
    assert first.usage.num_image_tokens == 4
    again = worker.ask(user(before, picture, ".\nList them.")).end
    assert again.images[0].is_cached
    assert again.images[0].encode_ms == 0
    assert again.usage.num_cached_tokens > 4


def test_many_at_once_are_told_their_own_colours(worker: SeeingWorker) -> None:
    before, after, start = ONE_COLOUR.before, ONE_COLOUR.after, ONE_COLOUR.start
    colours = ["red", "green", "yellow"]
    prompts = [ChatPrompt([user(before, painted(*[colour] * 4), after)], continuation=start) for colour in colours]
    for colour, answer in zip(colours, worker.ask_all(prompts, ONE_COLOUR.num_tokens), strict=True):
        assert answer.text.startswith(f" {colour}")


def test_it_tells_the_colours_of_a_picture_in_a_later_turn(worker: SeeingWorker) -> None:
    before, after, start = ONE_COLOUR.before, ONE_COLOUR.after, ONE_COLOUR.start
    messages: list[PromptMessage] = []
    for colour in ("red", "blue"):
        messages.append(user(before, painted(*[colour] * 4), after))
        answer = worker.ask(*messages, start=start, num_tokens=ONE_COLOUR.num_tokens)
        assert answer.text.startswith(f" {colour}")
        messages.append({"role": "assistant", "content": f"{start} {colour}."})
    assert answer.end.images[0].is_cached


def test_damaged_pictures_are_refused_and_it_goes_on(worker: SeeingWorker) -> None:
    file = png(painted("red", "red", "red", "red"))
    message: PromptMessage = {"role": "user", "content": [ImagePart(file[: len(file) // 2], "messages[0].content[0]")]}
    failed = worker.ask(message).failed
    assert failed.code == "invalid_image"
    assert "messages[0].content[0]" in failed.message
    answer = worker.ask(question_of(ONE_COLOUR), start=ONE_COLOUR.start, num_tokens=ONE_COLOUR.num_tokens)
    assert answer.text.startswith(" red")
