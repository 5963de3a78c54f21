"""Requests of the Anthropic Messages API, exactly typed; unknown fields are left out (`http.ignored`).

Fields that are not honoured are declared too, so that they can be refused by name, or accept the value that asks for
nothing (`fields/support.py`). Definitions of tools are read by `request`: what is wrong with one hangs on its `type`.

Source: Anthropic API reference, "Create a Message" and "Count tokens in a Message", and the types of its Python client.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from router.protocols.anthropic.edits import ContextManagement, Summarize
from router.protocols.fields import ranges
from router.protocols.fields.json_types import JSONObject, JSONSchema, JSONValue, Refused, read_by_type
from router.protocols.fields.mlxr import MlxrFields
from router.protocols.fields.support import LABEL, honoured, refused
from router.protocols.fields.tools import CalledName

MAX_MESSAGES = 100_000
MAX_TOOLS = 512
MIN_THINKING_TOKENS = 1024

ToolName = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.\-]+\Z")]
Display = Literal["summarized", "omitted"]
ToolObject = Annotated[JSONObject, read_by_type("Tool", "anthropic.ToolDefinition")]
BlockObject = Annotated[
    JSONObject,
    read_by_type(
        "ContentBlock",
        "anthropic.TextBlock",
        "anthropic.ThinkingBlock",
        "anthropic.RedactedThinkingBlock",
        "anthropic.ToolUseBlock",
        "anthropic.ToolResultBlock",
        "anthropic.DocumentBlock",
        "anthropic.ImageBlock",
        "anthropic.CompactionBlock",
    ),
]
"""Read by its `type` (`messages`), because others than these are said in words where the model need not see them."""


class CacheControl(msgspec.Struct, forbid_unknown_fields=True):
    """A wish to keep the prompt up to here; mlxr keeps every prompt, so it has no effect."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None
    scope: str | None = None


# ---- messages --------------------------------------------------------------------------------------------------------


class TextBlock(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="text"):
    """Text; `citations` of an earlier answer have no effect."""

    text: str
    cache_control: CacheControl | None = None
    citations: list[JSONValue] | None = None


class ThinkingBlock(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="thinking"):
    """What the assistant thought; its signature is taken back unread."""

    thinking: str
    signature: str = ""
    cache_control: CacheControl | None = None


class RedactedThinkingBlock(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="redacted_thinking"):
    """Thinking that only its maker can read; the model is not shown it."""

    data: str
    cache_control: CacheControl | None = None


class ToolUseBlock(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="tool_use"):
    """A call that the assistant made; of an input that was cut, some clients send the text."""

    id: ranges.CallId
    name: CalledName
    input: JSONObject | str | None
    cache_control: CacheControl | None = None
    caller: JSONObject | None = None
    toolset_name: str | None = None


class ToolResultBlock(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="tool_result"):
    """What a call came to."""

    tool_use_id: ranges.CallId
    content: Annotated[
        str | list[BlockObject] | None,
        honoured("in results of tools; what is no text, and no image that the model sees, is said in words"),
    ] = None
    is_error: bool | None = None
    cache_control: CacheControl | None = None
    toolset_name: str | None = None


class CompactionBlock(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="compaction"):
    """What stands for all that was said before; of another server's, which only that one can read, the summary counts.

    `tool_changes` belong to tools that come and go in a conversation, which none do here.
    """

    content: str | None = None
    encrypted_content: str | None = None
    signature: str | None = None
    tool_changes: JSONValue = None
    cache_control: CacheControl | None = None


class DataSource(msgspec.Struct, tag_field="type", tag="base64"):
    """A file in base64; what it says of the type is not believed, but names a document that has no name."""

    data: str
    media_type: str | None = None


class URLSource(msgspec.Struct, tag_field="type", tag="url"):
    """An address, where `images.fetch` of the config allows it, or a data: URI."""

    url: str


class FileSource(msgspec.Struct, tag_field="type", tag="file"):
    """A file that was uploaded to /v1/files."""

    file_id: str


class PlainTextSource(msgspec.Struct, tag_field="type", tag="text"):
    """A document's text as it is."""

    data: str
    media_type: str | None = None


class ContentSource(msgspec.Struct, tag_field="type", tag="content"):
    """A document made of blocks: texts, and images that are shown behind it."""

    content: str | list[JSONObject]


SourceObject = Annotated[
    JSONObject,
    read_by_type(
        "DocumentSource",
        "anthropic.DataSource",
        "anthropic.PlainTextSource",
        "anthropic.ContentSource",
        "anthropic.FileSource",
        "anthropic.URLSource",
    ),
]
"""Read by its `type` (`documents`, `messages`): others than these are said in words in earlier turns."""


class DocumentBlock(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="document"):
    """A document, quoted to the model: what is read of a file, or a text; nothing is fetched, and nothing cited."""

    source: SourceObject
    title: str | None = None
    context: str | None = None
    citations: JSONValue = None
    cache_control: CacheControl | None = None


class ImageBlock(msgspec.Struct, tag_field="type", tag="image"):
    """A picture, of models that see; in results of tools and earlier turns of others it is said in words."""

    source: DataSource | URLSource | FileSource
    cache_control: CacheControl | None = None


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """One turn of the conversation, or part of one: turns of the same role in a row are one."""

    role: Annotated[
        Literal["user", "assistant", "system"],
        honoured("a system prompt for all of it belongs in system"),
    ]
    content: Annotated[
        str | list[BlockObject] | None,
        honoured(
            "what is no text, and no image that the model sees, is said in words, but in the last turn; null only in "
            "messages of the assistant"
        ),
    ]


# ---- tools -----------------------------------------------------------------------------------------------------------


class ToolDefinition(msgspec.Struct, forbid_unknown_fields=True):
    """A tool that the client runs.

    `defer_loading` and `allowed_callers` belong to tools of Anthropic's servers; how arguments are streamed
    (`eager_input_streaming`) is always the same here: as the model writes them.
    """

    name: ToolName
    input_schema: JSONSchema
    description: str | None = None
    type: Literal["custom"] | None = None
    strict: bool | None = None
    cache_control: CacheControl | None = None
    eager_input_streaming: bool | None = None
    input_examples: list[JSONObject] | None = None
    defer_loading: bool | None = None
    allowed_callers: list[str] | None = None


class _Choice(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    disable_parallel_tool_use: bool = False


class AutoChoice(_Choice, tag="auto"):
    """The model decides."""


class AnyChoice(_Choice, tag="any"):
    """Some tool must be called."""


class NamedChoice(_Choice, tag="tool"):
    """This tool must be called."""

    name: str


class NoChoice(_Choice, tag="none"):
    """No tool may be called."""


# ---- what answers look like ------------------------------------------------------------------------------------------


class ThinkingEnabled(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="enabled"):
    """Think where the model can; the budget is "a target rather than a strict limit", and has no effect."""

    budget_tokens: Annotated[int, Meta(ge=MIN_THINKING_TOKENS, le=1_000_000_000)]
    display: Display | None = None


class ThinkingAdaptive(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="adaptive"):
    """Think as the model's template has it."""

    display: Display | None = None


class ThinkingDisabled(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="disabled"):
    """Do not think."""

    display: None = None


class OutputFormat(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="json_schema"):
    """JSON by a schema; a name has no effect."""

    schema: JSONSchema
    name: str | None = None


class OutputConfig(msgspec.Struct, forbid_unknown_fields=True):
    """What the answer is to be like."""

    format: OutputFormat | None = None
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    task_budget: Annotated[Refused, refused("leave it out; max_tokens bounds the answer")] = None


class Metadata(msgspec.Struct, forbid_unknown_fields=True):
    """Labels."""

    user_id: str | None = None


# ---- bodies ----------------------------------------------------------------------------------------------------------


class _Prompting(msgspec.Struct, kw_only=True):
    """Fields that both endpoints have."""

    model: ranges.ModelReference
    messages: Annotated[list[Message], Meta(min_length=1, max_length=MAX_MESSAGES)]
    system: str | list[TextBlock] | None = None
    tools: Annotated[list[ToolObject], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: AutoChoice | AnyChoice | NamedChoice | NoChoice | None = None
    thinking: ThinkingEnabled | ThinkingAdaptive | ThinkingDisabled | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    # Every prompt is kept, and whose account it is makes no difference.
    cache_control: Annotated[CacheControl | None, LABEL] = None
    user_profile_id: Annotated[str | None, LABEL] = None
    workspace_id: Annotated[str | None, LABEL] = None
    mlxr: MlxrFields | None = None
    context_management: ContextManagement | None = None
    compaction: Annotated[
        Summarize | None, honoured("the answer is a compaction block alone; not beside context_management")
    ] = None
    mcp_servers: Annotated[
        list[Refused] | None, refused("mlxr calls no servers; offer their tools as tools of your own", [])
    ] = None
    speed: Annotated[str | None, refused("leave it out, or send standard", "standard")] = None


class CountRequest(_Prompting, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/messages/count_tokens."""


class MessagesRequest(_Prompting, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/messages."""

    max_tokens: Annotated[int, Meta(ge=0, le=1_000_000_000), honoured("0 only fills the cache")]
    stream: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: ranges.TopP | None = None
    top_k: ranges.TopK | None = None
    stop_sequences: ranges.StopList | None = None
    metadata: Annotated[Metadata | None, LABEL] = None
    service_tier: Annotated[Literal["auto", "standard_only"] | None, LABEL] = None
    container: Annotated[Refused, refused("there is no code execution here; leave it out")] = None
    inference_geo: Annotated[str | None, refused("answers are computed on this machine; leave it out")] = None
    diagnostics: Annotated[Refused, refused("why a prompt was not in the cache is not told; leave it out")] = None
    fallbacks: Annotated[list[Refused] | None, refused("only the model that is named answers; leave it out", [])] = None
    thread: Annotated[Refused, refused("conversations are not stored; send all of it in messages")] = None
