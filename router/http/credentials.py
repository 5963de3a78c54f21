"""What a request sends to say who it is, as the clients of all protocols send it. Pure.

OpenAI's, Ollama's, llama-server's and LM Studio's clients send `Authorization: Bearer KEY`; Anthropic's sends
`x-api-key`, or a bearer where it was given a token instead. A request may have both, of which one is a default.

Source: RFC 6750 section 2.1; Anthropic API reference, "Authentication".
"""

from typing import Final

_BEARER: Final = b"bearer "
_MAX_SECRETS: Final = 4


def secrets_of(headers: list[tuple[bytes, bytes]]) -> list[bytes]:
    """Return the secrets that a request sends, those of `Authorization` first.

    Args:
        headers: Names in lower case.
    """
    bearers = [
        value.strip()[len(_BEARER) :].strip()
        for name, value in headers
        if name == b"authorization" and value.strip()[: len(_BEARER)].lower() == _BEARER
    ]
    keys = [value.strip() for name, value in headers if name == b"x-api-key"]
    return [secret for secret in (*bearers, *keys) if secret][:_MAX_SECRETS]
