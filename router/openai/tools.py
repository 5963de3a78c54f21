"""The tools of a chat request: what the template shows to the model, and what the answer may call. Pure."""

from typing import Any, Final

import msgspec

from backends.request import Tool, ToolChoice, ToolUse
from router.errors import InvalidRequestError
from router.openai.schemas import ChatRequest, FunctionDefinition, ToolDefinition

MAX_PARAMETERS_BYTES: Final = 65_536
"""Longest JSON of one function's parameters, like that of any schema."""
_NO_PARAMETERS: Final[dict[str, Any]] = {"type": "object", "properties": {}, "additionalProperties": False}
"""Source: OpenAI API reference, tools: "Omitting `parameters` defines a function with an empty parameter list"."""


class _NamedFunction(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class _NamedChoice(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="function"):
    function: _NamedFunction


class _AllowedTools(msgspec.Struct, forbid_unknown_fields=True):
    mode: str
    tools: list[_NamedChoice]


class _AllowedChoice(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="allowed_tools"):
    allowed_tools: _AllowedTools


class RequestTools(msgspec.Struct, frozen=True):
    """The tools of one request, checked.

    Attributes:
        shown: OpenAI-shaped, for the template; none when the model is not to call any.
        use: For the answer; None when it calls none.
    """

    shown: list[dict[str, Any]]
    use: ToolUse | None


def request_tools(request: ChatRequest) -> RequestTools:
    """Return the tools that a request may use.

    `tool_choice: none` takes the tools away altogether: a model that does not see them does not call them.

    Raises:
        InvalidRequestError: A tool or the choice is not well formed, or they do not fit each other.
    """
    definitions = request.tools or []
    names = _checked_names(definitions)
    choice, named, allowed = _choice(request.tool_choice, names)
    chosen = [tool for tool in definitions if tool.function.name in allowed]
    if choice is ToolChoice.NONE or not chosen:
        return RequestTools([], None)
    tools = tuple(Tool(tool.function.name, _parameters(tool.function), bool(tool.function.strict)) for tool in chosen)
    is_parallel = request.parallel_tool_calls is not False
    return RequestTools([_shown(tool) for tool in chosen], ToolUse(tools, choice, named, is_parallel))


def _checked_names(definitions: list[ToolDefinition]) -> list[str]:
    names: list[str] = []
    for index, tool in enumerate(definitions):
        path = f"tools[{index}].function"
        if tool.function.name in names:
            raise InvalidRequestError(f"{path}.name: {tool.function.name} is there twice; names differ", f"{path}.name")
        names.append(tool.function.name)
        _check_parameters(tool.function.parameters, f"{path}.parameters")
    return names


def _check_parameters(parameters: dict[str, Any] | None, path: str) -> None:
    if parameters is None:
        return
    if parameters.get("type", "object") != "object":
        raise InvalidRequestError(f'{path}.type: parameters are an object; the type must be "object"', f"{path}.type")
    num_bytes = len(msgspec.json.encode(parameters))
    if num_bytes > MAX_PARAMETERS_BYTES:
        raise InvalidRequestError(f"{path}: at most {MAX_PARAMETERS_BYTES} bytes of JSON, got {num_bytes}", path)


def _parameters(function: FunctionDefinition) -> dict[str, Any]:
    return _NO_PARAMETERS if function.parameters is None else function.parameters


def _shown(tool: ToolDefinition) -> dict[str, Any]:
    function: dict[str, Any] = msgspec.to_builtins(tool.function)
    return {"type": "function", "function": {**function, "parameters": _parameters(tool.function)}}


def _choice(choice: str | dict[str, Any] | None, names: list[str]) -> tuple[ToolChoice, str | None, list[str]]:
    """Return the mode, the one tool that must be called, and the tools that may be."""
    if choice is None:
        return ToolChoice.AUTO, None, names
    if isinstance(choice, str):
        return _needing_tools(_mode(choice, "tool_choice", ("none", "auto", "required")), names), None, names
    try:
        wanted = msgspec.convert(choice, _NamedChoice | _AllowedChoice)
    except msgspec.ValidationError as exc:
        raise InvalidRequestError(
            f"tool_choice: {exc}; allowed are none, auto, required, an object of type function with function.name, "
            "and one of type allowed_tools",
            "tool_choice",
        ) from exc
    if isinstance(wanted, _NamedChoice):
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
