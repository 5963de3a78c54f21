"""What is known of a request from its arrival, whatever it wants. Data only."""

import msgspec


class RequestFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a request from its arrival.

    Attributes:
        request_id: The answer's id, such as `chatcmpl-…`.
        protocol: By which it came: `openai`, `ollama`, ...
        fingerprint: What only the same request has; None = it cannot be taken over.
        timeout_s: Its own limit for the whole request, or None.
    """

    request_id: str
    protocol: str
    client: str
    fingerprint: bytes | None = None
    timeout_s: float | None = None
