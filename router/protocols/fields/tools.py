"""The tools of a request, by whatever protocol: what the template shows to the model, what the answer may call. Pure.

A tool is a function here, as OpenAI and Ollama write them; `tools[i].function` is its place in a body of both.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from backends.wire.request import Tool, ToolChoice, ToolUse
from router.errors import InvalidRequestError
from router.protocols.fields.json_types import JSONObject, JSONSchema, read_by_type

MAX_PARAMETERS_BYTES: Final = 65_536
"""Longest JSON of one function's parameters, like that of any schema."""
_NO_PARAMETERS: Final[dict[str, Any]] = {"type": "object", "properties": {}, "additionalProperties": False}
"""Source: OpenAI API reference, tools: "Omitting `parameters` defines a function with an empty parameter list"."""


FunctionName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.\-]+\Z")]


class FunctionDefinition(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A function that the model may call."""

    name: FunctionName
    description: str | None = None
    parameters: JSONSchema | None = None
    strict: bool | None = None


class NamedFunction(msgspec.Struct, forbid_unknown_fields=True):
    """A function by its name."""

    name: str


class NamedChoice(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="function"):
    """This function must be called."""

    function: NamedFunction


class AllowedTools(msgspec.Struct, forbid_unknown_fields=True):
    """Some of the tools; `mode` is auto or required."""

    mode: str
    tools: list[NamedChoice]


class AllowedChoice(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="allowed_tools"):
    """Only these tools may be called."""

    allowed_tools: AllowedTools


ToolChoiceObject = Annotated[JSONObject, read_by_type("ToolChoice", "openai.NamedChoice", "openai.AllowedChoice")]
"""`tool_choice` as an object, read by `tools_for`."""


class RequestTools(msgspec.Struct, frozen=True):
    """The tools of one request, checked.

    Attributes:
        shown: OpenAI-shaped, for the template; none when the model is not to call any.
        use: For the answer; None when it calls none.
    """

    shown: list[dict[str, Any]]
    use: ToolUse | None


def tools_for(
    functions: Sequence[FunctionDefinition], tool_choice: str | dict[str, Any] | None, *, is_parallel: bool
) -> RequestTools:
    """Return the tools that a request may use.

    `tool_choice: none` takes the tools away altogether: a model that does not see them does not call them.

    Args:
        tool_choice: `none`, `auto`, `required` or one of OpenAI's objects; None = as the model likes.
        is_parallel: Whether one answer may have several calls.

    Raises:
        InvalidRequestError: A tool or the choice is not well formed, or they do not fit each other.
    """
    names = _checked_names(functions)
    choice, named, allowed = _choice(tool_choice, names)
    chosen = [function for function in functions if function.name in allowed]
    if choice is ToolChoice.NONE or not chosen:
        return RequestTools([], None)
    tools = tuple(Tool(function.name, _parameters(function), bool(function.strict)) for function in chosen)
    return RequestTools([_shown(function) for function in chosen], ToolUse(tools, choice, named, is_parallel))


def _checked_names(functions: Sequence[FunctionDefinition]) -> list[str]:
    names: list[str] = []
    for index, function in enumerate(functions):
        path = f"tools[{index}].function"
        if function.name in names:
            raise InvalidRequestError(f"{path}.name: {function.name} is there twice; names differ", f"{path}.name")
        names.append(function.name)
        check_parameters(function.parameters, f"{path}.parameters")
    return names


def check_parameters(parameters: dict[str, Any] | None, path: str) -> None:
    """Refuse a schema that cannot be one of a tool's parameters.

    Args:
        parameters: The schema; None = the tool has none.

    Raises:
        InvalidRequestError: It is of no object, or too long.
    """
    if parameters is None:
        return
    if parameters.get("type", "object") != "object":
        raise InvalidRequestError(f'{path}.type: parameters are an object; the type must be "object"', f"{path}.type")
    num_bytes = len(msgspec.json.encode(parameters))
    if num_bytes > MAX_PARAMETERS_BYTES:
        raise InvalidRequestError(f"{path}: at most {MAX_PARAMETERS_BYTES} bytes of JSON, got {num_bytes}", path)


def _parameters(function: FunctionDefinition) -> dict[str, Any]:
    return _NO_PARAMETERS if function.parameters is None else function.parameters


def _shown(function: FunctionDefinition) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(function)
    return {"type": "function", "function": {**plain, "parameters": _parameters(function)}}


def _choice(choice: str | dict[str, Any] | None, names: list[str]) -> tuple[ToolChoice, str | None, list[str]]:
    """Return the mode, the one tool that must be called, and the tools that may be."""
    if choice is None:
        return ToolChoice.AUTO, None, names
    if isinstance(choice, str):
        return _needing_tools(_mode(choice, "tool_choice", ("none", "auto", "required")), names), None, names
    try:
        wanted = msgspec.convert(choice, NamedChoice | AllowedChoice)
    except msgspec.ValidationError as exc:
        raise InvalidRequestError(
            f"tool_choice: {exc}; allowed are none, auto, required, an object of type function with function.name, "
            "and one of type allowed_tools",
            "tool_choice",
        ) from exc
    if isinstance(wanted, NamedChoice):
        name = _known(wanted.function.name, names, "tool_choice.function.name")
        return ToolChoice.REQUIRED, name, [name]
    path = "tool_choice.allowed_tools"
    mode = _mode(wanted.allowed_tools.mode, f"{path}.mode", ("auto", "required"))
    allowed = [_known(tool.function.name, names, f"{path}.tools") for tool in wanted.allowed_tools.tools]
    if not allowed:
        raise InvalidRequestError(f"{path}.tools: name at least one tool", f"{path}.tools")
    return mode, None, allowed


def _mode(text: str, path: str, allowed: tuple[str, ...]) -> ToolChoice:
    if text not in allowed:
        raise InvalidRequestError(f"{path}: {text!r:.40} is not known; allowed are {', '.join(allowed)}", path)
    return ToolChoice(text)


def _needing_tools(choice: ToolChoice, names: list[str]) -> ToolChoice:
    if choice is ToolChoice.REQUIRED and not names:
        raise InvalidRequestError("tool_choice: required needs tools, and there are none", "tool_choice")
    return choice


def _known(name: str, names: list[str], path: str) -> str:
    if name not in names:
        raise InvalidRequestError(
            f"{path}: there is no tool {name!r:.80}; there are {', '.join(names) or 'none'}"[:400], path
        )
    return name
