"""The tools of a request of the Responses API: what the model is shown of them, and whose call it makes. Pure.

A model calls functions. A tool of type custom is one with a single text, `input`; a namespace's tools are tools like
others, and keep their own names where no other has them. What a service of OpenAI's would run (web_search, ...) nobody
runs here: it is left out, and named to the client.

Source: OpenAI API reference, "Create a model response", `tools`.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from router.errors import InvalidRequestError
from router.http.body import convert_part
from router.protocols.fields.json_types import JSONObject, JSONValue, read_by_type
from router.protocols.fields.ranges import MAX_TOOLS
from router.protocols.fields.tools import FunctionDefinition, FunctionName

CUSTOM_INPUT: Final = "input"
"""The one parameter of a custom tool, as the model sees it."""

_MAX_KIND_CHARS: Final = 60

ToolObject = Annotated[
    JSONObject,
    read_by_type("Tool", "responses.FunctionTool", "responses.CustomTool", "responses.NamespaceTool"),
]


class FunctionTool(FunctionDefinition, forbid_unknown_fields=True, tag_field="type", tag="function"):
    """A tool of type function; a tool that is to be found by a search is shown from the start."""

    defer_loading: bool | None = None
    output_schema: JSONValue = None


class CustomTextFormat(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="text"):
    """Any text."""


class CustomGrammarFormat(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="grammar"):
    """Text by a grammar: the model is told it; a regular expression also holds where a call is required."""

    syntax: Literal["lark", "regex"]
    definition: str


class CustomTool(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="custom"):
    """A tool that takes any text."""

    name: FunctionName
    description: str | None = None
    format: CustomTextFormat | CustomGrammarFormat | None = None
    defer_loading: bool | None = None


class NamespaceTool(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="namespace"):
    """Tools that belong together, such as those of one MCP server."""

    name: FunctionName
    tools: Annotated[list[ToolObject], Meta(max_length=MAX_TOOLS)]
    description: str | None = None


class ShownFunction(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="function"):
    """A function in the response object, which has all of its fields."""

    name: str
    description: str | None
    parameters: JSONObject | None
    strict: bool | None


class ClientTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that can be called.

    Attributes:
        function: As the model is shown it, by the name that it calls.
        name: The client's.
        where: Path in the body.
    """

    function: FunctionDefinition
    name: str
    namespace: str | None
    is_custom: bool
    where: str


class ClientTools(msgspec.Struct, frozen=True, kw_only=True):
    """The tools of one request.

    Attributes:
        by_model_name: Those that can be called.
        shown: Those of the response object.
        ignored: What was left out, for the client.
    """

    tools: tuple[ClientTool, ...] = ()
    shown: tuple[ShownFunction | CustomTool | NamespaceTool, ...] = ()
    ignored: tuple[str, ...] = ()

    def called(self, model_name: str) -> ClientTool | None:
        """Return the tool that the model called."""
        return next((tool for tool in self.tools if tool.function.name == model_name), None)

    def model_name(self, name: str, namespace: str | None = None) -> str:
        """Return the name by which the model calls a tool; a tool that is not there keeps the client's."""
        same = [tool for tool in self.tools if tool.name == name]
        found = next((tool for tool in same if tool.namespace == namespace), None)
        if found is None and namespace is None and len(same) == 1:
            found = same[0]
        return name if found is None else found.function.name


def read_tools(sent: list[dict[str, Any]] | None) -> ClientTools:
    """Return the tools of a request.

    Raises:
        InvalidRequestError: One is not of its form.
    """
    found: list[ClientTool] = []
    shown: list[ShownFunction | CustomTool | NamespaceTool] = []
    ignored: list[str] = []
    for index, tool in enumerate(sent or []):
        where = f"tools[{index}]"
        match _kind(tool, where):
            case "namespace":
                space = convert_part(tool, NamespaceTool, where)
                found += _namespace_tools(space, where, ignored)
                shown.append(space)
            case "function" | "custom":
                read, as_sent = _tool(tool, where, None)
                found.append(read)
                shown.append(as_sent)
            case kind:
                ignored.append(ignored_name(where, kind))
    return ClientTools(tools=tuple(_with_distinct_names(found)), shown=tuple(shown), ignored=tuple(ignored))


def ignored_name(where: str, kind: str) -> str:
    """Return how something that was left out is named to the client: `tools[2].type=web_search`."""
    return f"{where}.type={kind:.{_MAX_KIND_CHARS}}"


def _kind(tool: dict[str, Any], where: str) -> str:
    kind = tool.get("type")
    if not isinstance(kind, str):
        raise InvalidRequestError(f"{where}.type: a text is needed, such as function", f"{where}.type")
    return kind


def _namespace_tools(space: NamespaceTool, where: str, ignored: list[str]) -> Iterator[ClientTool]:
    for index, tool in enumerate(space.tools):
        path = f"{where}.tools[{index}]"
        kind = _kind(tool, path)
        if kind in {"function", "custom"}:
            yield _tool(tool, path, space.name)[0]
        else:
            ignored.append(ignored_name(path, kind))


def _tool(tool: dict[str, Any], where: str, namespace: str | None) -> tuple[ClientTool, ShownFunction | CustomTool]:
    """Return a tool, and as the response object shows it."""
    shown: ShownFunction | CustomTool
    is_custom = tool["type"] == "custom"
    if is_custom:
        shown = convert_part(tool, CustomTool, where)
        function = _custom_function(shown)
    else:
        read = convert_part(tool, FunctionTool, where)
        function = FunctionDefinition(read.name, read.description, read.parameters, read.strict)
        shown = ShownFunction(
            name=read.name, description=read.description, parameters=read.parameters, strict=read.strict
        )
    client = ClientTool(function=function, name=function.name, namespace=namespace, is_custom=is_custom, where=where)
    return client, shown


def _custom_function(tool: CustomTool) -> FunctionDefinition:
    text: dict[str, Any] = {"type": "string", "description": "The whole input of the tool, as plain text."}
    told = [tool.description] if tool.description else []
    if isinstance(tool.format, CustomGrammarFormat):
        told.append(f"The input must match this {tool.format.syntax} grammar:\n{tool.format.definition}")
        if tool.format.syntax == "regex":
            text["pattern"] = f"^(?:{tool.format.definition})$"
    parameters = {
        "type": "object",
        "properties": {CUSTOM_INPUT: text},
        "required": [CUSTOM_INPUT],
        "additionalProperties": False,
    }
    return FunctionDefinition(tool.name, "\n\n".join(told) or None, parameters)


def _with_distinct_names(tools: list[ClientTool]) -> Iterator[ClientTool]:
    """Yield the tools, those of a namespace by both names where another tool has the same."""
    num = Counter(tool.name for tool in tools)
    for tool in tools:
        if tool.namespace is None or num[tool.name] == 1:
            yield tool
            continue
        name = f"{tool.namespace.removesuffix('__')}__{tool.name}"
        yield msgspec.structs.replace(tool, function=msgspec.structs.replace(tool.function, name=name))
