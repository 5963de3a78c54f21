"""How a request of the OpenAI API is scheduled: its tier and conversation, by body and headers. Pure.

Source: OpenAI API reference, "Create chat completion", `service_tier`: "When the service_tier parameter is set, the
response body will include the service_tier value based on the processing mode actually used".
"""

from typing import Final

import msgspec

from backends.sequence import Priority
from router.protocols.openai.schemas import ChatRequest, CompletionRequest, ServiceTier
from router.requests.generation import GenerationRequest
from router.requests.headers import HeaderWishes

_FLEX: Final = "flex"
_DEFAULT: Final = "default"
_PRIORITY: Final = "priority"


def scheduled(
    request: GenerationRequest, body: ChatRequest | CompletionRequest, wishes: HeaderWishes
) -> GenerationRequest:
    """Return the request with its priority and its conversation; headers come before the body."""
    by_body = Priority.BACKGROUND if body.service_tier == _FLEX else Priority.INTERACTIVE
    spec = msgspec.structs.replace(
        request.spec,
        priority=by_body if wishes.priority is None else wishes.priority,
        session_id=wishes.session_id or body.prompt_cache_key or None,
    )
    return msgspec.structs.replace(request, spec=spec)


def tier_used(body: ChatRequest | CompletionRequest, priority: Priority) -> ServiceTier | None:
    """Return the tier to tell the client; None where it did not ask for one."""
    if body.service_tier is None:
        return None
    if priority is Priority.BACKGROUND:
        return _FLEX
    return _PRIORITY if body.service_tier == _PRIORITY else _DEFAULT
