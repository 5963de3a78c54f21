"""The tools of a request, by whatever protocol: what the template shows to the model, what the answer may call. Pure.

A tool is a function here, as OpenAI and Ollama write them. Whatever is refused is an `InvalidRequestError` that names
its place in the body.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from backends.wire.request import Tool, ToolChoice, ToolUse
from router.errors import InvalidRequestError
from router.http.body import convert_part
from router.protocols.fields.json_types import JSONObject, JSONSchema, read_by_type
from router.protocols.fields.tool_names import writable_names

MAX_PARAMETERS_BYTES: Final = 65_536
"""Longest JSON of one function's parameters, like that of any schema."""
_NO_PARAMETERS: Final[dict[str, Any]] = {"type": "object", "properties": {}, "additionalProperties": False}
"""Source: OpenAI API reference, tools: "Omitting `parameters` defines a function with an empty parameter list"."""


FunctionName = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.\-]+\Z")]
CalledName = Annotated[str, Meta(min_length=1, max_length=256)]
"""Of a function that was called before: whatever it was called then."""


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
"""`tool_choice` as an object, read by `read_choice`."""


class Choice(msgspec.Struct, frozen=True):
    """Which tools an answer may call, whatever the protocol.

    Attributes:
        named: The one that must be called; None = there is none.
        allowed: The only ones that may be; None = all of them.
    """

    mode: ToolChoice = ToolChoice.AUTO
    named: str | None = None
    allowed: list[str] | None = None


class ToolPaths(msgspec.Struct, frozen=True, kw_only=True):
    """Where tools and the choice among them stand in a body, for errors.

    Attributes:
        function: With `{}` for the tool's number.
        functions: Of each tool, where numbers do not tell.
        allowed: Where `mode` and `tools` of a choice of some stand.
        required: The word for a choice of whichever.
    """

    function: str = "tools[{}].function"
    functions: tuple[str, ...] = ()
    parameters: str = "parameters"
    named: str = "tool_choice.function.name"
    allowed: str = "tool_choice.allowed_tools"
    required: str = "required"


class RequestTools(msgspec.Struct, frozen=True):
    """The tools of one request, checked.

    Attributes:
        shown: OpenAI-shaped, for the template; none when the model is not to call any.
        use: For the answer; None when it calls none.
    """

    shown: list[dict[str, Any]]
    use: ToolUse | None


_PATHS: Final = ToolPaths()


def tools_for(
    functions: Sequence[FunctionDefinition], choice: Choice, *, is_parallel: bool, paths: ToolPaths = _PATHS
) -> RequestTools:
    """Return the tools that a request may use.

    A choice of none takes the tools away altogether: a model that does not see them does not call them.

    Args:
        is_parallel: Whether one answer may have several calls.
    """
    allowed = _allowed(choice, _checked_names(functions, paths), paths)
    chosen = [function for function in functions if function.name in allowed]
    if choice.mode is ToolChoice.NONE or not chosen:
        return RequestTools([], None)
    names = writable_names(function.name for function in chosen)
    tools = tuple(
        Tool(names[name], _parameters(function), None if names[name] == name else name)
        for function in chosen
        for name in (function.name,)
    )
    named = None if choice.named is None else names[choice.named]
    use = ToolUse(tools, choice.mode, named, is_parallel)
    return RequestTools([_shown(function, names[function.name]) for function in chosen], use)


def read_choice(choice: str | dict[str, Any] | None) -> Choice:
    """Read `tool_choice` as OpenAI's chats and Ollama have it: a word, or one of OpenAI's objects."""
    if choice is None or isinstance(choice, str):
        return choice_of_word(choice)
    wanted = choice_object(choice, NamedChoice | AllowedChoice)
    if isinstance(wanted, NamedChoice):
        return Choice(ToolChoice.REQUIRED, wanted.function.name)
    names = [tool.function.name for tool in wanted.allowed_tools.tools]
    return choice_of_some(wanted.allowed_tools.mode, names, _PATHS.allowed)


def choice_object(choice: dict[str, Any], forms: Any) -> Any:
    """Read `tool_choice` as one of the objects that a protocol has for it."""
    try:
        return convert_part(choice, forms, "tool_choice")
    except InvalidRequestError as exc:
        raise InvalidRequestError(
            f"{exc} Allowed for tool_choice are none, auto, required, an object of type function with function.name, "
            "and one of type allowed_tools.",
            "tool_choice",
        ) from exc


def choice_of_word(word: str | None) -> Choice:
    """Return the choice that `none`, `auto` and `required` are; None = it is not said."""
    return Choice() if word is None else Choice(_mode(word, "tool_choice", ("none", "auto", "required")))


def choice_of_some(mode: str, names: list[str], path: str) -> Choice:
    """Return the choice of some tools."""
    wanted = _mode(mode, f"{path}.mode", ("auto", "required"))
    if not names:
        raise InvalidRequestError(f"{path}.tools: name at least one tool", f"{path}.tools")
    return Choice(wanted, allowed=names)


def check_parameters(parameters: dict[str, Any] | None, path: str) -> None:
    """Refuse a schema that cannot be one of a tool's parameters.

    Args:
        parameters: The schema; None = the tool has none.
    """
    if parameters is None:
        return
    if parameters.get("type", "object") != "object":
        raise InvalidRequestError(f'{path}.type: parameters are an object; the type must be "object"', f"{path}.type")
    num_bytes = len(msgspec.json.encode(parameters))
    if num_bytes > MAX_PARAMETERS_BYTES:
        raise InvalidRequestError(f"{path}: at most {MAX_PARAMETERS_BYTES} bytes of JSON, got {num_bytes}", path)


def _checked_names(functions: Sequence[FunctionDefinition], paths: ToolPaths) -> list[str]:
    names: list[str] = []
    for index, function in enumerate(functions):
        path = paths.functions[index] if paths.functions else paths.function.format(index)
        if function.name in names:
            raise InvalidRequestError(f"{path}.name: {function.name} is there twice; names differ", f"{path}.name")
        names.append(function.name)
        check_parameters(function.parameters, f"{path}.{paths.parameters}")
    return names


def _allowed(choice: Choice, names: list[str], paths: ToolPaths) -> list[str]:
    if choice.named is not None:
        return [_known(choice.named, names, paths.named)]
    if choice.allowed is not None:
        return [_known(name, names, f"{paths.allowed}.tools") for name in choice.allowed]
    if choice.mode is ToolChoice.REQUIRED and not names:
        raise InvalidRequestError(f"tool_choice: {paths.required} needs tools, and there are none", "tool_choice")
    return names


def _parameters(function: FunctionDefinition) -> dict[str, Any]:
    return _NO_PARAMETERS if function.parameters is None else function.parameters


def _shown(function: FunctionDefinition, name: str) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(function)
    return {"type": "function", "function": {**plain, "name": name, "parameters": _parameters(function)}}


def _mode(text: str, path: str, allowed: tuple[str, ...]) -> ToolChoice:
    if text not in allowed:
        raise InvalidRequestError(f"{path}: {text!r:.40} is not known; allowed are {', '.join(allowed)}", path)
    return ToolChoice(text)


def _known(name: str, names: list[str], path: str) -> str:
    if name not in names:
        raise InvalidRequestError(
            f"{path}: there is no tool {name!r:.80}; there are {', '.join(names) or 'none'}"[:400], path
        )
    return name
