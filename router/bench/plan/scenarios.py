"""The kinds of work that a benchmark does: which there are, and the requests of each. Pure.

A scenario's requests follow from the seed, the round and the contestant. In a round all contestants get the same texts,
but each begins with a word of its own, so that no cache serves one contestant's prompt, or one round's, to another;
only those with pictures (`look`) are equal. Not here: sending them (`client`, `blocks`), and when (`schedule`).
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from registry.bench_record import BenchScenario, ImageUse
from router.bench.plan.contestants import Contestant
from router.bench.plan.deciding import DECISIONS, NUM_DECISIONS
from router.bench.plan.look import LOOK, look_messages, why_not_seen
from router.bench.plan.options import BenchOptions
from router.bench.plan.prompts_file import UserPrompt
from router.bench.plan.talks import LONG_TALK, TALK_ANSWER_TOKENS, TALK_LENGTHS
from router.bench.plan.texts import generator, item, label, prose, subject
from router.errors import BenchError

Message = dict[str, Any]

ANSWER_ROOM: Final = 96
"""Tokens of the context that a long prompt leaves free: chat template, question, answer."""

UNKNOWN_CONTEXT_LENGTH: Final = 2048
"""Longest prompt for a server that does not tell its context."""

TEMPERATURE: Final = 0.8
"""Of the requests: that of everyday use, so that drawing a token costs what it costs there."""

PEOPLE_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 24},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tools": {"type": "array", "items": {"type": "string", "maxLength": 12}, "minItems": 2, "maxItems": 4},
    },
    "required": ["name", "age", "tools"],
    "additionalProperties": False,
}


class Scenario(msgspec.Struct, frozen=True):
    """One kind of work.

    Attributes:
        num_parallel: Requests at once.
        num_turns: Of the conversation; only the turns after the first are samples.
        num_prompt_tokens: Wanted length of the prompt; None = a short one.
        schema: What the answers must match; None = free text.
        prompts: The user's own, in the place of texts made here.
        has_image: Whether its prompts have a picture, new in the first and again in the second.
        has_decisions: Whether it is asked for decisions (`deciding.py`), all of a round in one request.
        num_talk_turns: Of a long talk with planted facts (`talks.py`); None = it is none.
        is_filled: Whether the server is asked to go on after the model's end token, so that all answers are as long.
    """

    name: str
    what: str
    max_tokens: int
    num_parallel: int = 1
    num_turns: int = 1
    num_prompt_tokens: int | None = None
    schema: dict[str, Any] | None = None
    prompts: tuple[UserPrompt, ...] = ()
    is_filled: bool = True
    has_image: bool = False
    num_talk_turns: int | None = None
    has_decisions: bool = False

    @property
    def has_cached_prompts(self) -> bool:
        """Whether prompts are meant to be found in a cache."""
        return self.num_turns > 1 or self.num_talk_turns is not None or self.has_decisions

    def described(self, skipped: str | None = None) -> BenchScenario:
        """Return what a record keeps of it."""
        plain = msgspec.convert(self, BenchScenario, from_attributes=True)
        return msgspec.structs.replace(plain, skipped=skipped)


def standard_scenarios(num_parallel: int = 4) -> tuple[Scenario, ...]:
    """Return all of them, in the order in which they run.

    Args:
        num_parallel: Streams of the parallel one, >= 2.
    """
    parallel = f"{num_parallel} different questions at once, 32 tokens back to each"
    return (
        Scenario("short-chat", "a question of one sentence, 48 tokens back", 48),
        Scenario("long-answer", "a question of one sentence, 128 tokens back", 128),
        Scenario("multi-turn", "the second and third turn of a conversation", 24, num_turns=3),
        Scenario(f"parallel-{num_parallel}", parallel, 32, num_parallel=num_parallel),
        Scenario("json-schema", "an answer that must match a JSON schema", 64, schema=PEOPLE_SCHEMA, is_filled=False),
        Scenario(
            LOOK,
            "two questions on a picture, new for the first, 32 tokens back to each",
            32,
            is_filled=False,
            has_image=True,
        ),
        Scenario("long-prompt-2k", "2,048 tokens to read, a short answer", 16, num_prompt_tokens=2048),
        Scenario("long-prompt-8k", "8,192 tokens to read, a short answer", 16, num_prompt_tokens=8192),
    )


def talk_scenarios() -> tuple[Scenario, ...]:
    """Return the long talks; they take long, and run only where they are named."""
    return tuple(
        Scenario(
            f"{LONG_TALK}-{number}",
            f"a talk of {number} turns with facts that are asked for at its end",
            TALK_ANSWER_TOKENS,
            is_filled=False,
            num_talk_turns=number,
        )
        for number in TALK_LENGTHS
    )


def decisions_scenario() -> Scenario:
    """Return the decisions; they say little of speed, and run only where they are named."""
    what = f"{NUM_DECISIONS} typed questions on one state, answered by probabilities"
    return Scenario(DECISIONS, what, NUM_DECISIONS, is_filled=False, has_decisions=True)


def prompts_scenario(prompts: Sequence[UserPrompt], max_tokens: int) -> Scenario:
    """Return the scenario that asks what the user has in a file, all of it in every round."""
    number = len(prompts)
    what = f"your {number} prompts, one after the other" if number > 1 else "your prompt"
    return Scenario(name="own-prompts", what=what, max_tokens=max_tokens, prompts=tuple(prompts), is_filled=False)


def chosen_scenarios(options: BenchOptions) -> tuple[Scenario, ...]:
    """Return what a run does.

    Raises:
        BenchError: There is no such scenario.
    """
    standard, talks = standard_scenarios(options.num_parallel), talk_scenarios()
    own = (prompts_scenario(options.prompts, options.max_tokens),) if options.prompts else ()
    if not options.scenarios:
        return own or standard
    known = {scenario.name: scenario for scenario in (*standard, decisions_scenario(), *talks, *own)}
    all_talks = [talk.name for talk in talks]
    names = [name for given in options.scenarios for name in (all_talks if given == LONG_TALK else [given])]
    for name in names:
        if name not in known:
            raise BenchError(f"There is no scenario {name[:40]!r}; there are: {', '.join(known)}.")
    return tuple(scenario for name, scenario in known.items() if name in names)


def unseen_scenarios(scenarios: Sequence[Scenario], contestants: Sequence[Contestant]) -> dict[str, str]:
    """Return those that cannot be run because a contestant of ours cannot see, and why.

    Raises:
        BenchError: Nothing else is to be run.
    """
    reason = why_not_seen(contestants)
    if reason is None:
        return {}
    unseen = {scenario.name: reason for scenario in scenarios if scenario.has_image}
    if len(unseen) == len(scenarios):
        raise BenchError(f"{', '.join(unseen)}: {reason}.")
    return unseen


def why_skipped(scenario: Scenario, context_length: int | None) -> str | None:
    """Return why a scenario does not fit a context; None = it does.

    Args:
        context_length: The smallest of the contestants'; None = not known, then everything up to 2,048 tokens is tried.
    """
    wanted = scenario.num_prompt_tokens
    if wanted is None:
        return None
    if context_length is None:
        return None if wanted <= UNKNOWN_CONTEXT_LENGTH else "the length of the context is not known"
    needed = wanted + ANSWER_ROOM
    if needed <= context_length:
        return None
    return f"needs a context of {needed:,} tokens, there are {context_length:,}"


class ScenarioRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a scenario, but for the model.

    Attributes:
        schema: What the answer must match.
        is_filled: See `Scenario`.
        temperature: 0 where answers are held against each other.
        image: Of the picture in it.
    """

    messages: tuple[Message, ...]
    max_tokens: int
    seed: int
    schema: dict[str, Any] | None = None
    is_filled: bool = True
    temperature: float = TEMPERATURE
    image: ImageUse | None = None

    def body(self, model: str) -> dict[str, Any]:
        """Return the body of `POST /v1/chat/completions`."""
        body: dict[str, Any] = {
            "model": model,
            "messages": list(self.messages),
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.is_filled:
            body["ignore_eos"] = True
        if self.schema is not None:
            schema = {"name": "answer", "schema": self.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body


def requests_of(
    scenario: Scenario, *, seed: int, round_number: int, contestant: int, chars_per_token: Callable[[int], int]
) -> tuple[ScenarioRequest, ...]:
    """Return the first requests of a scenario in one round: of a conversation its first turn.

    Args:
        contestant: Who is asked; decides the first word of each prompt without a picture.
        chars_per_token: How many characters of this module's prose have so many tokens.
    """
    if scenario.prompts:
        draw = generator(seed, scenario.name, round_number, contestant)
        return tuple(
            ScenarioRequest(
                messages=_begun_with(label(draw), prompt.messages),
                max_tokens=prompt.max_tokens or scenario.max_tokens,
                seed=round_number + 1000,
                is_filled=scenario.is_filled,
            )
            for prompt in scenario.prompts
        )
    if scenario.has_image:
        return _look_requests(scenario, seed, round_number)
    return tuple(
        ScenarioRequest(
            messages=(
                {"role": "user", "content": _text(scenario, seed, round_number, contestant, i, chars_per_token)},
            ),
            max_tokens=scenario.max_tokens,
            seed=1000 * (round_number + 1) + i,
            schema=scenario.schema,
            is_filled=scenario.is_filled,
        )
        for i in range(scenario.num_parallel)
    )


def _look_requests(scenario: Scenario, seed: int, round_number: int) -> tuple[ScenarioRequest, ScenarioRequest]:
    new, again = (
        ScenarioRequest(
            messages=messages,
            max_tokens=scenario.max_tokens,
            seed=round_number + 1000,
            is_filled=scenario.is_filled,
            temperature=0.0,
        )
        for messages in look_messages(seed=seed, round_number=round_number)
    )
    return msgspec.structs.replace(new, image="new"), msgspec.structs.replace(again, image="again")


def next_turn(request: ScenarioRequest, answer: str, *, seed: int, turn: int) -> ScenarioRequest:
    """Return the request of a conversation's next turn: the model's own answer, and another question.

    Args:
        turn: Its number, from 1.
    """
    draw = generator(seed, "turn", turn)
    question = f"And what would {subject(draw)} say about {item(draw)}?"
    said: tuple[Message, ...] = ({"role": "assistant", "content": answer}, {"role": "user", "content": question})
    return msgspec.structs.replace(request, messages=request.messages + said)


def _begun_with(word: str, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    first, *others = messages
    return ({**first, "content": f"{word.capitalize()}: {first['content']}"}, *others)


def _text(
    scenario: Scenario, seed: int, round_number: int, contestant: int, index: int, chars_of: Callable[[int], int]
) -> str:
    own = generator(seed, scenario.name, round_number, index, contestant)
    shared = generator(seed, scenario.name, round_number, index)
    first = f"{label(own).capitalize()}:"
    if scenario.num_prompt_tokens is not None:
        question = "In one sentence: what happened first?"
        room = max(0, chars_of(scenario.num_prompt_tokens) - len(first) - len(question) - 2)
        return f"{first} {prose(shared, room)} {question}"
    if scenario.schema is not None:
        return f"{first} invent a person like {subject(shared)}: name, age and tools. Answer as JSON."
    return f"{first} tell me a story about {subject(shared)} and {item(shared)}."
