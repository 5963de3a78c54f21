"""What a coding agent sends, made from a seed: a long system prompt, tools, a history that grows by calls and results.

The answers of the history are made as well, not the model's, so that every server gets the same prompts.
"""

import json
import random
from typing import Any, Final

_TEXT: Final = (
    "file line test build check edit search folder change commit branch error output command result value class "
    "function module import return string number list path option before after never always only when while until"
)
_WORDS: Final = _TEXT.split()
_TOOLS: Final = ("read_file", "write_file", "list_folder", "search_text", "run_command", "apply_patch")


class AgentSession:
    """One session.

    Args:
        seed: Of the system prompt and the tools; sessions with the same one begin alike.
        task: Of what the user wants and of all that follows.
        system_chars: Length of the system prompt and the tools together, about.
        turn_chars: What a turn adds, about.
    """

    def __init__(self, seed: int, task: int, *, system_chars: int, turn_chars: int = 400) -> None:
        rules = random.Random(f"rules {seed}")  # a text: of a number only the absolute value would count
        self.tools = [tool_definition(rules, name) for name in _TOOLS]
        tools_chars = len(json.dumps(self.tools))
        system = "You are a coding agent. " + prose(rules, max(0, system_chars - tools_chars))
        self._own = random.Random(f"{seed} {task}")
        self._turn_chars = turn_chars
        self._messages: list[dict[str, Any]] = [
            {"role": "system", "content": system},
            {"role": "user", "content": f"Task {task}: " + prose(self._own, 80)},
        ]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The history, as the next request has it."""
        return list(self._messages)

    def go_on(self) -> None:
        """Add a call of a tool and its result; the next request is another turn."""
        name, number = self._own.choice(_TOOLS), len(self._messages)
        arguments = json.dumps({"path": f"src/{self._own.choice(_WORDS)}.py", "text": prose(self._own, 40)})
        function = {"name": name, "arguments": arguments}
        call = {"id": f"call_{number}", "type": "function", "function": function}
        result = prose(self._own, max(20, self._turn_chars - 120))
        self._messages += [
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": result},
        ]


def tool_definition(rng: random.Random, name: str) -> dict[str, Any]:
    properties = {
        key: {"type": "string", "description": prose(rng, 60)} for key in ("path", "text", rng.choice(_WORDS))
    }
    schema = {"type": "object", "properties": properties, "required": ["path"], "additionalProperties": False}
    return {
        "type": "function",
        "function": {"name": name, "description": prose(rng, 120), "parameters": schema},
    }


def prose(rng: random.Random, num_chars: int) -> str:
    """Return words of so many characters, about."""
    words, length = [], 0
    while length < num_chars:
        word = rng.choice(_WORDS)
        words.append(word)
        length += len(word) + 1
    return " ".join(words)
