"""What a request wants of its sequences: how tokens are drawn, when they end, and an answer's form.

Plain data that the gateway has validated in shape; whether a grammar compiles is seen in the worker.
"""

import enum
from typing import Any

import msgspec

GREEDY_BELOW = 1e-5
"""Temperatures below this are greedy: dividing by them overflows float32 long before they change a draw."""


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """How tokens are drawn, the same meaning on every engine.

    The logits are changed in this order: logit_bias, repetition, frequency and presence penalty, the constraint's mask.
    Then filters apply in this order: top_k, typical_p, top_p, min_p, temperature; then one draw with the sequence's own
    generator.

    Attributes:
        temperature: >= 0; below GREEDY_BELOW, above all at 0, it is greedy and makes the filters irrelevant.
        top_k: Keep the k most likely tokens, >= 1; None = all.
        typical_p: Keep the tokens whose information is nearest to the expected one, up to this probability,
            0 < typical_p <= 1; 1 = all.
        top_p: Keep the smallest set whose probability reaches top_p, 0 < top_p <= 1.
        min_p: Drop tokens less likely than min_p times the most likely, 0..1.
        seed: Start of the sequence's own random generator, 0..2**32-1; None = a fresh one.
        repetition_penalty: > 0; logits of tokens in the window are divided by it where positive, multiplied where
            negative; 1 = off.
        repetition_window: How many of the last tokens, prompt included, count for it, >= 1; None = all.
        frequency_penalty: -2..2, subtracted once per occurrence in the answer so far; 0 = off.
        presence_penalty: -2..2, subtracted once from every token that occurs in the answer so far; 0 = off.
        penalty_window: How many of the answer's last tokens count for these two, >= 1; None = all.
        logit_bias: Pairs of token id and a number, -100..100, added to its logit.
        num_logprobs: How many of the likeliest tokens to report with each drawn one, 0..20; None = no report.
        num_prompt_logprobs: The same for the tokens of the prompt, which are all computed for it; None = no report.
        label_ids: The tokens that write each label, where the answer's first token has to be one of them; its report
            has one entry per label then instead of the likeliest tokens, of all tokens that write it. () = it is free.
    """

    temperature: float = 1.0
    top_k: int | None = None
    typical_p: float = 1.0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | None = None
    repetition_penalty: float = 1.0
    repetition_window: int | None = 64
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_window: int | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    num_logprobs: int | None = None
    num_prompt_logprobs: int | None = None
    label_ids: tuple[tuple[int, ...], ...] = ()

    @property
    def is_greedy(self) -> bool:
        """Whether the most likely token is taken, always."""
        return self.temperature < GREEDY_BELOW


class Priority(enum.Enum):
    """Who goes first where not everybody can: at the queue, for a place in the batch, and in it."""

    INTERACTIVE = "interactive"
    BACKGROUND = "background"


class SpeculationMode(enum.StrEnum):
    """Whether tokens are drafted, to draw several in one step; what is drawn stays the same.

    AUTO drafts where that was seen to pay, LOOKUP wherever the text repeats itself, DRAFT by a second model in all
    steps that may have drafts.
    """

    AUTO = "auto"
    LOOKUP = "lookup"
    DRAFT = "draft"
    OFF = "off"


class Pooling(enum.StrEnum):
    """How the hidden states of a text's tokens become one vector."""

    MEAN = "mean"
    CLS = "cls"
    LAST = "last"
    RANK = "rank"


class ConstraintKind(enum.StrEnum):
    """What kind of text a constraint is; LARK is what mlxr itself writes for calls, no request has it."""

    JSON_OBJECT = "json_object"
    JSON_SCHEMA = "json_schema"
    GBNF = "gbnf"
    REGEX = "regex"
    LARK = "lark"


class Constraint(msgspec.Struct, frozen=True, array_like=True):
    """What the content of an answer must match as a whole.

    Attributes:
        kind: How `text` is to be read.
        text: The JSON schema as JSON, the GBNF grammar, the regular expression, or the Lark grammar with a rule
            `start`; "" for json_object.
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
        name: Letters, digits, `_`, `-` and `.`, 1 to 128 characters.
        parameters: JSON schema of its arguments, an object; {} = any object.
        said: What the client calls it; None = the same.
    """

    name: str
    parameters: dict[str, Any]
    said: str | None = None


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
        max_tokens: Upper bound of the answer; None = what the context leaves, 0 = only the prompt is computed.
        stop: Strings that end the answer and are not part of it.
        ignore_eos: Go on after end tokens, which then add nothing to the text.
        constraint: What the answer must match; None = anything.
        output: How the answer is taken apart (reasoning, tool calls); None = plain text.
        priority: In the queue and in the batch; background sequences hold still while interactive ones compute.
        session_id: Conversation whose cache is kept for its next turn, or None.
        wants_token_ids: Whether the end is to tell the tokens of prompt and answer.
        echoes: Whether the prompt's text is wanted before the answer's.
        min_tokens: Tokens before which no end token, no stop token and no stop string ends the answer.
        stop_token_ids: Tokens that end the answer as end tokens do, with `ignore_eos` too.
        owner: The id of the API key that asks; its prompts share caches with each other only. None = no key's.
        speculation: Whether tokens are drafted; None = as the model was loaded.
        min_room: Tokens that the prompt has to leave to the answer, >= 1; where it leaves fewer it is too long.
        labels: Texts of one token each, of which the answer's first token is one; () = it is free. What a model would
            write before its answer, such as thinking, is then left out.
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
    echoes: bool = False
    min_tokens: int = 0
    stop_token_ids: tuple[int, ...] = ()
    owner: str | None = None
    speculation: SpeculationMode | None = None
    min_room: int = 1
    labels: tuple[str, ...] = ()
