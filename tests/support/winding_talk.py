"""A client that sends its whole history each time, and configs under which that is wound; a token is a byte."""

from typing import Any, Final

import httpx
import msgspec

from backends.fake.engine import FakeOptions
from router.config import Config, ContextConfig
from router.stores.contexts import Wind
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront

LIMIT: Final = 6000
TELLING: Final = FakeOptions(
    context_length=LIMIT, answers=(("Summarize", "{facts}"), ("What is the", "{fact}"), ("", "I see."))
)
"""An engine that overlooks nothing; what it answers to others is shorter than any summary."""
IN_SUMMARY: Final = "token-20"
"""A gate at which only summaries stand still."""
SYSTEM: Final = {"role": "system", "content": "You are terse."}
_FACT_EVERY: Final = 10


def winding(*, is_ahead: bool = False, parallel: int = 4, workers: int = 1, **fields: Any) -> Config:
    """Return a config under which conversations are wound; in the background only where that is wanted."""
    context = ContextConfig(mode="wind", wind_at=0.7 if is_ahead else 1.0, **fields)
    config = make_config(context_length=LIMIT, parallel=parallel, workers=workers)
    return msgspec.structs.replace(config, context=context)


def told(number: int) -> str:
    """Return what is said in a turn; each tenth tells a fact."""
    fact = "" if number % _FACT_EVERY else f"Remember: the code of door {number} is {code(number)}. "
    return fact + f"Then came chapter {number}. " * 24


def asked(number: int) -> str:
    """Return the question for a fact."""
    return f"What is the code of door {number}?"


def code(number: int) -> str:
    """Return the fact."""
    return str(1000 + (number + 1) * 7919 % 9000)


class Talk:
    """The client.

    Attributes:
        messages: The history.
        usages: Of the answers.
    """

    def __init__(self, front: FakeFront, *, model: str = "m") -> None:
        self._front = front
        self._model = model
        self.messages: list[dict[str, Any]] = [SYSTEM]
        self.usages: list[dict[str, Any]] = []

    async def say(self, text: str) -> str:
        """Say something; return the answer, which becomes part of the history."""
        answer = await self.send([*self.messages, {"role": "user", "content": text}])
        assert answer.status_code == 200, answer.text
        said: str = answer.json()["choices"][0]["message"]["content"]
        self.messages += [{"role": "user", "content": text}, {"role": "assistant", "content": said}]
        self.usages.append(answer.json()["usage"])
        return said

    async def send(self, messages: list[dict[str, Any]] | None = None, **body: Any) -> httpx.Response:
        """Send a history, or the one so far with a question for its first fact."""
        wanted = messages or [*self.messages, {"role": "user", "content": asked(0)}]
        plain = {"model": self._model, "messages": wanted, "temperature": 0, "max_tokens": 200}
        return await self._front.client.post("/v1/chat/completions", json=plain | body)

    def fill(self, num_turns: int) -> None:
        """Make a history of so many turns, as if it had been talked elsewhere."""
        for number in range(num_turns):
            self.messages += [{"role": "user", "content": told(number)}, {"role": "assistant", "content": "I see."}]

    @property
    def num_chars(self) -> int:
        """Of the history."""
        return sum(len(message["content"]) for message in self.messages)


async def winds(front: FakeFront) -> list[Wind]:
    """Return what was wound, the newest last."""
    found = await front.services.contexts.page(after=None, limit=200)
    return sorted(found, key=lambda wind: wind.created_at)


async def idle(front: FakeFront) -> None:
    """Wait until nothing is done in the background."""
    await front.fleet.until(lambda: not front.running and not front.services.winder.is_busy, "all is told")


def summarising(front: FakeFront) -> list[str]:
    """Return the priorities of the requests of summarisers that run."""
    return [each.generation.request.spec.priority.value for each in front.running if each.facts.protocol == "context"]


def answer_of(response: httpx.Response) -> str:
    """Return the text of an answer."""
    assert response.status_code == 200, response.text
    text: str = response.json()["choices"][0]["message"]["content"]
    return text


def wound_of(response: httpx.Response) -> dict[str, Any]:
    """Return what an answer says of its conversation's wind."""
    assert response.status_code == 200, response.text
    wound: dict[str, Any] = response.json()["timings"]["context"]["wound"]
    return wound
