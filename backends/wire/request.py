"""What a request wants of its sequences: how tokens are drawn, when they end, and an answer's form.

Plain data that the gateway has validated in shape; whether a grammar compiles is seen in the worker.
"""

import enum
from typing import Any

import msgspec

from backends.sequence import Priority, SamplingParams


class Pooling(enum.StrEnum):
    """How the hidden states of a text's tokens become one vector."""

    MEAN = "mean"
    CLS = "cls"
    LAST = "last"
    RANK = "rank"


class ConstraintKind(enum.StrEnum):
    """What kind of text a constraint is."""

    JSON_OBJECT = "json_object"
    JSON_SCHEMA = "json_schema"
    GBNF = "gbnf"
    REGEX = "regex"


class Constraint(msgspec.Struct, frozen=True, array_like=True):
    """What the content of an answer must match as a whole.

    Attributes:
        kind: How `text` is to be read.
        text: The JSON schema as JSON, the GBNF grammar, or the regular expression; "" for json_object.
        param: The request's field that carries it, for errors.
    """

    kind: ConstraintKind
    text: str
    param: str


class ToolChoice(enum.StrEnum):
    """Whether an answer calls tools."""

    NONE = "none"
    AUTO = "auto"
    REQUIRED = "required"


class Tool(msgspec.Struct, frozen=True, array_like=True):
    """One function that the model may call.

    Attributes:
        name: Letters, digits, `_`, `-` and `.`, 1 to 64 characters.
        parameters: JSON schema of its arguments, an object; {} = any object.
        is_strict: Whether the client asked for `strict`.
    """

    name: str
    parameters: dict[str, Any]
    is_strict: bool = False


class ToolUse(msgspec.Struct, frozen=True, array_like=True):
    """The tools of a request.

    Attributes:
        choice: AUTO lets the model decide; REQUIRED forces at least one call.
        named: The one tool that must be called, or None; only together with REQUIRED.
        is_parallel: Whether one answer may have several calls.
    """

    tools: tuple[Tool, ...]
    choice: ToolChoice = ToolChoice.AUTO
    named: str | None = None
    is_parallel: bool = True


class OutputSpec(msgspec.Struct, frozen=True, array_like=True):
    """How a chat answer is to be taken apart.

    Attributes:
        splits_reasoning: Whether thinking is put out apart from the content.
        tools: Whether and how tool calls are recognised; None = they are content.
    """

    splits_reasoning: bool = True
    tools: ToolUse | None = None


class SequenceSpec(msgspec.Struct, frozen=True, array_like=True):
    """What a request wants of a sequence, whatever its prompt.

    Attributes:
        max_tokens: Upper bound of the answer; None = what the context leaves.
        stop: Strings that end the answer and are not part of it.
        ignore_eos: Go on after end tokens, which then add nothing to the text.
        constraint: What the answer must match; None = anything.
        output: How the answer is taken apart (reasoning, tool calls); None = plain text.
        priority: In the queue and in the batch; background sequences hold still while interactive ones compute.
        session_id: Conversation whose cache is kept for its next turn, or None.
        wants_token_ids: Whether the end is to tell the tokens of prompt and answer.
    """

    sampling: SamplingParams
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    constraint: Constraint | None = None
    output: OutputSpec | None = None
    priority: Priority = Priority.INTERACTIVE
    session_id: str | None = None
    wants_token_ids: bool = False
