"""How good a contestant's model is: how well it foretells a fixed text, and what it answers greedily.

Both by HTTP, so that settings such as a quantized cache count. A text is scored token by token: the tokens before it as
the prompt, one token to draw, and a bias that makes the text's own token the one that is drawn. Servers give the
log-probability without the bias (docs/api.md; llama-server as well), so this is what the model thought of it. A server
that does not give it, or draws something else, is not scored. Not here: asking for anything else.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import httpx
import msgspec

from registry.bench_record import BenchQuality
from router.bench.machine.server_facts import LONG_TIMEOUT_S, TextToken, asked, tokens_of
from router.bench.plan.texts import QUALITY_PROMPTS, SCORED_TEXT

NUM_GIVEN: Final = 8
"""Tokens of the text that are not scored: nobody could foretell them."""

MAX_SCORED: Final = 64
MIN_SCORED: Final = 16
"""Fewer say nothing."""

ANSWER_TOKENS: Final = 32
_NUM_AT_ONCE: Final = 4
_BIAS: Final = 100
_IMPOSSIBLE: Final = -9000.0
"""Below stands what servers write for minus infinity."""


class QualityReading(msgspec.Struct, frozen=True, kw_only=True):
    """What one contestant said.

    Attributes:
        answers: Its greedy answers, each as the texts of its tokens; None = it does not tell tokens.
        scored_ids: Tokens of the fixed text, as it cuts it; None = it does not tell.
        logprobs: Of the text's tokens after the first `NUM_GIVEN`, natural logarithm; None = it does not tell.
    """

    answers: tuple[tuple[str, ...], ...] | None = None
    scored_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None


async def read_quality(
    http: httpx.AsyncClient, model: str, headers: Mapping[str, str], *, time_s: float
) -> QualityReading:
    """Ask a contestant that is loaded.

    Args:
        time_s: How long this may take; a slow model is asked less.
    """
    client = _QualityClient(http, model, headers)
    started_at = time.monotonic()
    tokens = await tokens_of(http, SCORED_TEXT, model=model, headers=headers)
    logprobs = None
    if tokens is not None:
        until = started_at + time_s / 2
        logprobs = await client.scores(tokens[: NUM_GIVEN + MAX_SCORED], lambda: time.monotonic() < until)
    answers: list[tuple[str, ...]] = []
    for prompt in QUALITY_PROMPTS:
        if answers and time.monotonic() > started_at + time_s:
            break
        answer = await client.greedy(prompt)
        if answer is None:
            return QualityReading(scored_ids=_ids_of(tokens), logprobs=logprobs)
        answers.append(answer)
    return QualityReading(answers=tuple(answers), scored_ids=_ids_of(tokens), logprobs=logprobs)


def qualities_of(readings: Mapping[int, QualityReading]) -> dict[int, BenchQuality]:
    """Return what a record keeps of all readings: of what everybody said, by contestant. Pure.

    Args:
        readings: By contestant; 0 is the one that the others are compared with.
    """
    counts = [len(reading.logprobs) for reading in readings.values() if reading.logprobs is not None]
    num_scored = min(counts, default=0)
    return {
        index: _quality_of(reading, (reading.logprobs or ())[:num_scored], readings.get(0) if index else None)
        for index, reading in readings.items()
    }


def _ids_of(tokens: Sequence[TextToken] | None) -> tuple[int, ...] | None:
    return None if tokens is None else tuple(token.id for token in tokens)


def _quality_of(reading: QualityReading, logprobs: Sequence[float], first: QualityReading | None) -> BenchQuality:
    """Return what a record keeps of a reading.

    Args:
        logprobs: Those that count.
        first: The first contestant's; None = this is the first, or it has none.
    """
    mean = sum(logprobs) / len(logprobs) if logprobs else None
    quality = BenchQuality(
        num_scored_tokens=len(logprobs),
        mean_logprob=mean,
        perplexity=None if mean is None else math.exp(-mean),
    )
    if first is None or first.answers is None or reading.answers is None:
        return quality
    num_compared, num_equal, divergences = 0, 0, []
    for ours, theirs in zip(reading.answers, first.answers, strict=False):  # a slow one gave fewer
        equal = num_equal_tokens(ours, theirs)
        num_compared += max(len(ours), len(theirs))
        num_equal += equal
        if equal < max(len(ours), len(theirs)):
            divergences.append(equal)
    return msgspec.structs.replace(
        quality,
        num_compared_tokens=num_compared,
        num_equal_tokens=num_equal,
        first_divergence=min(divergences, default=None),
    )


def num_equal_tokens(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """Return how many tokens two answers have in common before they part."""
    return next(
        (index for index, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other),
        min(len(ours), len(theirs)),
    )


class _QualityClient:
    """Asks one server for what is not streamed."""

    def __init__(self, http: httpx.AsyncClient, model: str, headers: Mapping[str, str]) -> None:
        self._http = http
        self._model = model
        self._headers = headers

    async def greedy(self, prompt: str) -> tuple[str, ...] | None:
        messages = [{"role": "user", "content": prompt}]
        body = {"messages": messages, "max_tokens": ANSWER_TOKENS, "logprobs": True}
        choice = await self._choice("/v1/chat/completions", body)
        entries = _content_of(choice)
        return None if entries is None else tuple(str(entry.get("token")) for entry in entries)

    async def scores(self, tokens: Sequence[TextToken], may_go_on: Callable[[], bool]) -> tuple[float, ...] | None:
        """Return the log-probability of each token after the first ones, as far as time allows; None = not told."""
        values: list[float] = []
        for place in range(NUM_GIVEN, len(tokens), _NUM_AT_ONCE):
            if not may_go_on():
                break
            places = range(place, min(place + _NUM_AT_ONCE, len(tokens)))
            told = await asyncio.gather(*(self._score(tokens[:each], tokens[each]) for each in places))
            known = [value for value in told if value is not None]
            if len(known) < len(told):
                return None
            values += known
        return tuple(values) if len(values) >= MIN_SCORED else None

    async def _score(self, before: Sequence[TextToken], token: TextToken) -> float | None:
        prompt = [each.id for each in before]
        body = {"prompt": prompt, "max_tokens": 1, "logit_bias": {str(token.id): _BIAS}, "logprobs": 1}
        choice = await self._choice("/v1/completions", body)
        if choice is None or (isinstance(token.piece, str) and str(choice.get("text")).strip() != token.piece.strip()):
            return None  # the server does not know the bias
        value = _first_logprob(choice)
        return value if value is not None and _IMPOSSIBLE < value <= 0 else None

    async def _choice(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        whole = {"model": self._model, "temperature": 0, **body}
        found = await asked(
            self._http, "POST", path, _Choices, body=whole, headers=self._headers, timeout_s=LONG_TIMEOUT_S
        )
        return found.choices[0] if found is not None and found.choices else None


class _Choices(msgspec.Struct, frozen=True):
    choices: tuple[dict[str, Any], ...]


def _content_of(choice: dict[str, Any] | None) -> list[dict[str, Any]] | None:
    """Return the tokens of a chat's answer. Source: OpenAI API reference, `logprobs.content`."""
    content = ((choice or {}).get("logprobs") or {}).get("content")
    return content if isinstance(content, list) and all(isinstance(entry, dict) for entry in content) else None


def _first_logprob(choice: dict[str, Any] | None) -> float | None:
    """Return the drawn token's, in either of the two shapes that servers use for text completions."""
    entries = _content_of(choice)
    if entries is not None:
        value = entries[0].get("logprob") if entries else None
    else:
        values = ((choice or {}).get("logprobs") or {}).get("token_logprobs")
        value = values[0] if isinstance(values, list) and values else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
