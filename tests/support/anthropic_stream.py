"""The events of Anthropic's streams put together again, as its clients do."""

from collections.abc import Iterable
from typing import Any

from router.protocols.fields.call_arguments import complete_part


def content_of(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the content blocks of a stream; other events are skipped."""
    blocks: list[dict[str, Any]] = []
    arguments = ""
    for event in events:
        match event:
            case {"type": "content_block_start", "content_block": block}:
                blocks.append(dict(block))
                arguments = ""
            case {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": text}}:
                arguments += text
                blocks[-1]["input"] = complete_part(arguments)
            case {"type": "content_block_delta", "delta": {"type": _, **grown}}:
                for field, text in grown.items():
                    blocks[-1][str(field)] += text
    return blocks
