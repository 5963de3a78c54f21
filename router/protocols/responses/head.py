"""The response object: what is known of it from its request, and how it is written in each state. Pure.

Source: OpenAI API reference, "The response object".
"""

from typing import Any, Final

import msgspec

from router.errors import RequestCancelledError
from router.http.error_response import Dialect, error_object
from router.http.error_table import row_for
from router.protocols.openai.answer import timings_of
from router.protocols.responses.schemas import ResponseRequest
from router.requests.generation import Generation, GenerationRequest, SequenceEnd

_TOO_MANY: Final = 429
_FIRST_SERVER_STATUS: Final = 500


class ResponseHead(msgspec.Struct, frozen=True, kw_only=True):
    """What all objects of one response share.

    Attributes:
        response_id: `resp_…`.
        created_at: Seconds since 1970.
        wanted: What is generated for it: what it left open has its value here.
        service_tier: By which it is scheduled; None = the client did not ask.
    """

    response_id: str
    created_at: int
    request: ResponseRequest
    wanted: GenerationRequest
    service_tier: str | None
    is_stored: bool

    def body(self, status: str, output: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
        """Return the object.

        Args:
            status: `queued`, `in_progress`, `completed`, `incomplete`, `failed` or `cancelled`.
            **fields: Those that have a value now: error, incomplete_details, usage, completed_at, timings.
        """
        request, sampling = self.request, self.wanted.spec.sampling
        reasoning, text = request.reasoning, request.text
        text_format: dict[str, Any] = {"type": "text"}
        if text is not None and text.format is not None:
            text_format = msgspec.to_builtins(text.format)
        return {
            "id": self.response_id,
            "object": "response",
            "created_at": self.created_at,
            "completed_at": None,
            "status": status,
            "background": bool(request.background),
            "error": None,
            "incomplete_details": None,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "max_tool_calls": request.max_tool_calls,
            "model": request.model,
            "output": output,
            "parallel_tool_calls": request.parallel_tool_calls is not False,
            "previous_response_id": request.previous_response_id,
            "prompt_cache_key": request.prompt_cache_key,
            "reasoning": {
                "effort": None if reasoning is None else reasoning.effort,
                "summary": None if reasoning is None else reasoning.summary,
            },
            "safety_identifier": request.safety_identifier,
            "service_tier": self.service_tier,
            "store": self.is_stored,
            "temperature": sampling.temperature,
            "text": {"format": text_format, "verbosity": None if text is None else text.verbosity},
            "tool_choice": request.tool_choice or "auto",
            "tools": request.tools or [],
            "top_logprobs": request.top_logprobs or 0,
            "top_p": sampling.top_p,
            "truncation": request.truncation or "disabled",
            "usage": None,
            "user": request.user,
            "metadata": request.metadata or {},
            **fields,
        }


def usage_object(end: SequenceEnd) -> dict[str, Any]:
    """Return the usage object of an answer."""
    usage = end.usage
    return {
        "input_tokens": usage.num_prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.num_cached_tokens,
            # What was not in the cache is computed, and is in it then.
            "cache_write_tokens": usage.num_prompt_tokens - usage.num_cached_tokens,
        },
        "output_tokens": usage.num_output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.num_reasoning_tokens},
        "total_tokens": usage.num_prompt_tokens + usage.num_output_tokens,
    }


def end_fields(end: SequenceEnd, generation: Generation, now: float) -> dict[str, Any]:
    """Return what an answer's end adds to the object.

    Args:
        now: Seconds since 1970.
    """
    is_cut = end.reason == "length"
    return {
        "completed_at": None if is_cut else int(now),
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "usage": usage_object(end),
        "timings": timings_of([end], generation),
    }


def failure_fields(error: BaseException, *, is_background: bool) -> tuple[str, dict[str, Any]]:
    """Return the status of a response that ended with an error, and what the error adds to the object.

    Args:
        is_background: Whether it ran in the background: then being cancelled is a state of its own.
    """
    if is_background and isinstance(error, RequestCancelledError):
        return "cancelled", {}
    row = row_for(type(error))
    shown = error_object(error, Dialect.OPENAI)["error"]
    # The codes that the API knows; ours, which says more, stands before the message.
    code = "server_error"
    if row is not None and row.status < _FIRST_SERVER_STATUS:
        code = "rate_limit_exceeded" if row.status == _TOO_MANY else "invalid_prompt"
    return "failed", {"error": {"code": code, "message": f"{shown['code']}: {shown['message']}"}}
