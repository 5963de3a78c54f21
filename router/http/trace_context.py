"""Where a request stands in a trace that its client has begun: `traceparent` and `tracestate`.

Source: W3C Trace Context, sections 3.2 and 3.3; `traceresponse` is of its Level 2.
"""

import re
import secrets
from typing import Final

import msgspec

_TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MAX_STATE_BYTES: Final = 512
_STATE: Final = re.compile(rb"[\x20-\x7e]*")


class TraceContext(msgspec.Struct, frozen=True, kw_only=True):
    """Ids in lower-case hexadecimal.

    Attributes:
        parent_id: The client's span.
        span_id: Ours.
        flags: Two digits; the lowest bit: the client records its trace.
        state: What makers of tracing tools carry along, as it came.
    """

    trace_id: str
    parent_id: str
    span_id: str
    flags: str
    state: str

    @property
    def response(self) -> bytes:
        """The header of the answer that tells the client our span."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}".encode()


def trace_context(headers: list[tuple[bytes, bytes]]) -> TraceContext | None:
    """Return where a request stands; None where its client traces nothing, or sends what is no context.

    "If parsing fails, the vendor MUST NOT attempt to parse tracestate", and a trace begins anew, or not at all.
    """
    parents = [value.strip() for name, value in headers if name == b"traceparent"]
    found = _TRACEPARENT.fullmatch(parents[0]) if len(parents) == 1 else None
    if found is None or not _is_valid(*found.groups()):
        return None
    state = b",".join(value.strip() for name, value in headers if name == b"tracestate")
    is_sound = len(state) <= _MAX_STATE_BYTES and _STATE.fullmatch(state)
    return TraceContext(
        trace_id=found[2].decode(),
        parent_id=found[3].decode(),
        span_id=secrets.token_hex(8),
        flags=found[4].decode(),
        state=state.decode() if is_sound else "",
    )


def _is_valid(version: bytes, trace_id: bytes, parent_id: bytes, _flags: bytes, more: bytes | None) -> bool:
    """Tell whether the fields mean something; "version ff is invalid", and only later ones than 00 have more fields."""
    has_ids = any(byte != ord("0") for byte in trace_id) and any(byte != ord("0") for byte in parent_id)
    return version != b"ff" and has_ids and (more is None or version != b"00")
