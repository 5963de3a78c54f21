"""The tools of an Anthropic request: definitions that the client runs, and the choice among them. Pure."""

from typing import Any, Final

import msgspec

from router.errors import InvalidRequestError, UnsupportedFieldError
from router.protocols.anthropic.schemas import (
    AnyChoice,
    AutoChoice,
    CountRequest,
    MessagesRequest,
    NamedChoice,
    NoChoice,
    ToolDefinition,
)
from router.protocols.fields.tools import FunctionDefinition, RequestTools, check_parameters, tools_for

_CUSTOM: Final = (None, "custom")
_DIRECT: Final = "direct"


def request_tools(request: MessagesRequest | CountRequest) -> RequestTools:
    """Return the tools that a request may use.

    Raises:
        UnsupportedFieldError: A tool is one that Anthropic's servers run, or that only its models know.
        InvalidRequestError: A tool or the choice is not well formed, or they do not fit each other.
    """
    functions: list[FunctionDefinition] = []
    for index, raw in enumerate(request.tools or []):
        path = f"tools[{index}]"
        function = _function(_definition(raw, path), path)
        if any(function.name == other.name for other in functions):
            raise InvalidRequestError(f"{path}.name: {function.name} is there twice; names differ", f"{path}.name")
        functions.append(function)
    choice = request.tool_choice
    is_parallel = choice is None or not choice.disable_parallel_tool_use
    return tools_for(functions, _choice(choice, functions), is_parallel=is_parallel)


def _definition(raw: dict[str, Any], path: str) -> ToolDefinition:
    kind = raw.get("type")
    if kind not in _CUSTOM:
        raise UnsupportedFieldError(
            f"{path}.type: {kind!r:.60} is not supported: only Anthropic's servers and models bring such tools with "
            "them; leave it out, or define a tool of your own with name, description and input_schema",
            f"{path}.type",
        )
    try:
        return msgspec.convert(raw, ToolDefinition)
    except msgspec.ValidationError as exc:
        problem, _, place = str(exc).partition(" - at `$")
        place = path + place.removesuffix("`")
        raise InvalidRequestError(f"{place}: {problem[:1].lower()}{problem[1:]}", place) from exc


def _function(tool: ToolDefinition, path: str) -> FunctionDefinition:
    if tool.defer_loading:
        raise UnsupportedFieldError(
            f"{path}.defer_loading is not supported: there is no search for tools; leave it out",
            f"{path}.defer_loading",
        )
    if tool.allowed_callers is not None and _DIRECT not in tool.allowed_callers:
        raise UnsupportedFieldError(
            f"{path}.allowed_callers: only the model itself calls tools; name direct", f"{path}.allowed_callers"
        )
    check_parameters(tool.input_schema, f"{path}.input_schema")
    schema = {"type": "object", **tool.input_schema}
    if tool.input_examples:
        schema["examples"] = tool.input_examples  # where models look for examples of JSON
        check_parameters(schema, f"{path}.input_examples")
    return FunctionDefinition(tool.name, tool.description, schema, True if tool.strict else None)


def _choice(
    choice: AutoChoice | AnyChoice | NamedChoice | NoChoice | None, functions: list[FunctionDefinition]
) -> str | dict[str, Any] | None:
    """Return the choice in OpenAI's words."""
    match choice:
        case None:
            return None
        case AutoChoice():
            return "auto"
        case NoChoice():
            return "none"
        case AnyChoice():
            if not functions:
                raise InvalidRequestError("tool_choice: any needs tools, and there are none", "tool_choice")
            return "required"
        case NamedChoice(name=name):
            names = [function.name for function in functions]
            if name not in names:
                message = f"tool_choice.name: there is no tool {name!r:.80}; there are {', '.join(names) or 'none'}"
                raise InvalidRequestError(message[:400], "tool_choice.name")
            return {"type": "function", "function": {"name": name}}
