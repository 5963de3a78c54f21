"""Conversations over HTTP that outgrow their context, with the fake engine: a token is a byte."""

from typing import Any

import httpx
import msgspec

from backends.fake.engine import FakeOptions
from router.config import Config, ContextConfig
from router.stores.contexts import Wind
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front

LIMIT = 6000
SUMMARISES = (("Summarize", "{facts}"), ("What is the", "{fact}"))
TELLING = FakeOptions(context_length=LIMIT, answers=(*SUMMARISES, ("", "I see.")))
SYSTEM = {"role": "system", "content": "You are terse."}


def winding(*, is_ahead: bool = False, **fields: Any) -> Config:
    """Return a config under which conversations are wound; in the background only where that is wanted."""
    context = ContextConfig(mode="wind", wind_at=0.7 if is_ahead else 1.0, **fields)
    return msgspec.structs.replace(make_config(context_length=LIMIT), context=context)


class Talk:
    """A client that sends its whole history each time."""

    def __init__(self, front: FakeFront, *, model: str = "m", headers: dict[str, str] | None = None) -> None:
        self._front = front
        self._model = model
        self._headers = headers or {}
        self.messages: list[dict[str, Any]] = [SYSTEM]
        self.usages: list[dict[str, Any]] = []

    async def say(self, text: str, **body: Any) -> str:
        """Say something; return the answer, which becomes part of the history."""
        answer = await self.send([*self.messages, {"role": "user", "content": text}], **body)
        assert answer.status_code == 200, answer.text
        said: str = answer.json()["choices"][0]["message"]["content"]
        self.messages += [{"role": "user", "content": text}, {"role": "assistant", "content": said}]
        self.usages.append(answer.json()["usage"])
        return said

    async def send(self, messages: list[dict[str, Any]], **body: Any) -> httpx.Response:
        plain = {"model": self._model, "messages": messages, "temperature": 0, "max_tokens": 200}
        return await self._front.client.post("/v1/chat/completions", json=plain | body, headers=self._headers)

    @property
    def num_chars(self) -> int:
        return sum(len(message["content"]) for message in self.messages)


def told(number: int) -> str:
    fact = "" if number % 10 else f"Remember: the code of door {number} is {code(number)}. "
    return fact + f"Then came chapter {number}. " * 24


def code(number: int) -> str:
    return str(1000 + (number + 1) * 7919 % 9000)


async def tell(talk: Talk, numbers: range) -> None:
    for number in numbers:
        await talk.say(told(number))


async def winds(front: FakeFront) -> list[Wind]:
    """Return what was wound, the newest last."""
    found = await front.services.contexts.page(after=None, limit=200)
    return sorted(found, key=lambda wind: wind.created_at)


async def idle(front: FakeFront) -> None:
    """Wait until nothing is done in the background."""
    await front.fleet.until(lambda: not front.running and not front.services.winder.is_busy, "all is told")


@with_front(llamacpp=TELLING, config=winding())
async def test_a_talk_of_five_times_its_context_loses_nothing(front: FakeFront) -> None:
    talk = Talk(front)
    await tell(talk, range(60))
    assert talk.num_chars > 5 * LIMIT
    for number in range(0, 60, 10):
        assert await talk.say(f"What is the code of door {number}?") == code(number)
    kept = await winds(front)
    assert len(kept) > 4
    assert not any(wind.is_left_out for wind in kept)
    assert [wind.earlier_id for wind in kept[1:]] == [wind.context_id for wind in kept[:-1]]
    assert all(usage["prompt_tokens"] + 200 <= LIMIT for usage in talk.usages)


@with_front(llamacpp=TELLING, config=winding(is_ahead=True))
async def test_a_talk_that_is_wound_ahead_loses_nothing_and_no_turn_waits(front: FakeFront) -> None:
    talk = Talk(front)
    for number in range(60):
        await talk.say(told(number))
        await idle(front)
    for number in range(0, 60, 10):
        assert await talk.say(f"What is the code of door {number}?") == code(number)
    kept = await winds(front)
    assert len(kept) > 4
    assert max(usage["prompt_tokens"] for usage in talk.usages) < 0.85 * LIMIT
    told_again = [usage for usage in talk.usages if usage["prompt_tokens"] < 0.5 * LIMIT][4:]
    assert all(usage["prompt_tokens_details"]["cached_tokens"] > 0.6 * usage["prompt_tokens"] for usage in told_again)


@with_front(llamacpp=TELLING, config=winding())
async def test_a_history_that_is_sent_again_is_not_told_again_and_its_cache_is_found(front: FakeFront) -> None:
    talk = Talk(front)
    await tell(talk, range(12))
    (wind,) = await winds(front)
    before = list(talk.messages)
    question = [*before, {"role": "user", "content": "What is the code of door 0?"}]
    for _ in range(3):
        answer = (await talk.send(question)).json()
        assert answer["choices"][0]["message"]["content"] == code(0)
        context = answer["timings"]["context"]
        assert context["id"] == wind.context_id
        assert context["wound"]["ms"] == 0
    usage = answer["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"] - 1
    assert [each.context_id for each in await winds(front)] == [wind.context_id]


@with_front(llamacpp=TELLING, config=winding())
async def test_an_edit_in_a_told_turn_is_another_conversation(front: FakeFront) -> None:
    talk = Talk(front)
    await tell(talk, range(12))
    (first,) = await winds(front)
    edited = [*talk.messages, {"role": "user", "content": "What is the code of door 0?"}]
    edited[1] = {"role": "user", "content": edited[1]["content"].replace(code(0), "4242")}
    answer = (await talk.send(edited)).json()
    assert answer["choices"][0]["message"]["content"] == "4242"
    second = next(wind for wind in await winds(front) if wind.context_id != first.context_id)
    assert second.earlier_id is None
    assert answer["timings"]["context"]["id"] == second.context_id
    assert (await talk.say("What is the code of door 0?")) == code(0)
