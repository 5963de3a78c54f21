"""A talk with somebody who answers as it is scripted."""

from backends.fake.facts import fact_asked_for
from registry.bench_record import TalkWay
from router.bench.plan.scenarios import ScenarioRequest
from router.bench.plan.talks import Talk, talk_of
from router.bench.run.client import EMPTY_ANSWER, Answer
from router.bench.run.talking import TalkAnswer, Talking

TALK = talk_of(seed=0, round_number=0, num_turns=40)


class Reader:
    """Overlooks nothing of what it is shown; a token is a character."""

    def __init__(self, *, fails_at: int | None = None, context_length: int = 10**6) -> None:
        self.requests: list[ScenarioRequest] = []
        self.modes: set[str] = set()
        self._fails_at = fails_at
        self._context_length = context_length

    async def send(self, request: ScenarioRequest, headers: dict[str, str]) -> Answer:
        self.requests.append(request)
        self.modes.add(headers["X-Mlxr-Context"])
        prompt = "\n".join(message["content"] for message in request.messages)
        num_tokens = len(prompt) + 8 * len(request.messages)
        if len(self.requests) == self._fails_at or num_tokens > self._context_length:
            return Answer(started_at=0.0, error="no")
        text = fact_asked_for(prompt)
        error = EMPTY_ANSWER if len(self.requests) == 2 else None
        return Answer(started_at=0.0, text="" if error else text, num_prompt_tokens=num_tokens, error=error)


async def _held(reader: Reader, way: TalkWay, talk: Talk = TALK, context_length: int = 10**6) -> list[TalkAnswer]:
    told: list[str] = []
    talking = Talking(
        reader.send,
        talk,
        way,
        word="word",
        max_tokens=24,
        context_length=context_length,
        chars_per_token=4.0,
        tell=told.append,
    )
    answers = await talking.hold()
    assert len(told) == len(answers)
    return answers


async def test_every_turn_has_all_that_was_said_and_every_question_stands_behind_the_same_talk() -> None:
    reader = Reader()
    answers = await _held(reader, "wind")
    assert reader.modes == {"wind"}
    assert [each.turn for each in answers] == [*range(40), *[None] * 5]
    assert [each.recall for each in answers[40:]] == ["right"] * 5
    assert {each.recall for each in answers[:40]} == {None}
    assert answers[1].answer.error is None, "nothing to say to a turn is an answer"
    for before, after in zip(reader.requests[:40], reader.requests[1:40], strict=False):
        assert after.messages[: len(before.messages)] == before.messages
    (talk,) = {repr(request.messages[:-1]) for request in reader.requests[40:]}
    assert talk.count("'role': 'user'") == 40


async def test_without_its_oldest_turns_a_talk_fits_and_forgets() -> None:
    reader = Reader(context_length=3000)
    answers = await _held(reader, "truncated", context_length=3000)
    assert reader.modes == {"error"}
    assert len(answers) == 45
    assert {each.answer.error for each in answers} == {None}
    assert {each.recall for each in answers[40:]} > {"missing"}, "what was told lately is known"
    sizes = [sum(len(message["content"]) + 8 for message in request.messages) for request in reader.requests]
    assert max(sizes) > 2000, "the context is filled"


async def test_a_talk_is_over_where_a_turn_fails() -> None:
    answers = await _held(Reader(fails_at=10), "full")
    assert len(answers) == 10
    assert answers[-1].answer.error == "no"
