"""The text that shows tools to a model whose chat template does not; the answer is expected in Hermes' format."""

from typing import Any

import msgspec


def tool_instructions(tools: list[dict[str, Any]]) -> str:
    """Return what a system message has to say about `tools`."""
    lines = "\n".join(msgspec.json.encode(tool).decode() for tool in tools)
    return (
        "You can call functions to help with the user's request. These are their signatures, one JSON object a line, "
        f"between <tools> and </tools>:\n<tools>\n{lines}\n</tools>\n\n"
        "To call a function, write a JSON object with its name and its arguments between <tool_call> and "
        "</tool_call>, once for each call:\n"
        '<tool_call>\n{"name": "function-name", "arguments": {"argument-name": "value"}}\n</tool_call>\n'
        "Call a function only where it helps; otherwise answer in words."
    )
