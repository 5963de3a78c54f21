"""Asks one contestant for decisions, and reads what it thinks of every option.

Source: docs/decisions.md; Ollama, docs/capabilities/decision.mdx.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

import httpx
import msgspec

from router.bench.machine.server_facts import LONG_TIMEOUT_S
from router.bench.run.client import Answer

_PATH: Final = "/v1/systemone"
_MS: Final = 1000.0
_MAX_SHOWN: Final = 200

Opinions = tuple[tuple[float, ...], ...]
"""Of each question, in order, each option's probability; of yes or no, yes alone."""


class _Said(msgspec.Struct):
    probabilities: dict[str, float] | None = None
    noul: float | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Facts(msgspec.Struct):
    cached_tokens: int | None = None


class _Decision(msgspec.Struct):
    answers: dict[str, _Said]
    usage: _Usage | None = None
    mlxr: _Facts | None = None


async def decide(
    http: httpx.AsyncClient, body: dict[str, Any], *, model: str, headers: Mapping[str, str]
) -> tuple[Answer, Opinions | None]:
    """Return the answer to a request, as far as it is one, and what it says of the options; None where it says nothing.

    Args:
        body: Without the model.
    """
    started_at = time.monotonic()
    answer = Answer(started_at=started_at)
    try:
        response = await http.post(_PATH, json={"model": model, **body}, headers=headers, timeout=LONG_TIMEOUT_S)
        total_ms = (time.monotonic() - started_at) * _MS
        if response.is_error:
            said = " ".join(response.text.split())[:_MAX_SHOWN]
            return msgspec.structs.replace(answer, error=f"{response.status_code}: {said}"), None
        found = msgspec.json.decode(response.content, type=_Decision)
        opinions = tuple(_probabilities(found.answers[name], asked) for name, asked in body["questions"].items())
    except (httpx.HTTPError, msgspec.MsgspecError, KeyError) as exc:
        return msgspec.structs.replace(answer, error=f"it gave no decisions: {type(exc).__name__}: {exc}"), None
    usage = found.usage or _Usage()
    done = msgspec.structs.replace(
        answer,
        total_ms=total_ms,
        num_prompt_tokens=usage.input_tokens,
        num_cached_tokens=None if found.mlxr is None else found.mlxr.cached_tokens,
        num_output_tokens=usage.output_tokens or len(opinions),
    )
    return done, opinions


def _probabilities(said: _Said, asked: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the options' probabilities in the order in which they were sent: servers may sort them."""
    if said.noul is not None:
        return (said.noul,)
    criteria = asked["criteria"]
    names = criteria if isinstance(criteria, dict) else map(str, range(len(criteria)))
    return tuple((said.probabilities or {})[name] for name in names)
