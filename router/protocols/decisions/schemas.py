"""Bodies of decisions: System One's questions by their ids, and OpenAI's in a list.

Source: Ollama, docs/capabilities/decision.mdx; OpenAI's Python client 3.52, types/decision_create_params.py.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from router.protocols.decisions.questions import MAX_OPTIONS, MAX_QUESTIONS, MIN_OPTIONS
from router.protocols.fields.json_types import JSONObject, JSONValue, Refused, read_by_type
from router.protocols.fields.ranges import CacheKey, ModelReference
from router.protocols.fields.support import LABEL, refused

_TEXT_ONLY = "decisions are taken over texts here; leave it out"
Instructions = Annotated[str, Meta(min_length=1)]
_OF_ITEMS: Final = Meta(extra_json_schema={"minItems": MIN_OPTIONS, "maxItems": MAX_OPTIONS})
_OF_NAMES: Final = Meta(extra_json_schema={"minProperties": MIN_OPTIONS, "maxProperties": MAX_OPTIONS})
"""How many options a question has, for the API's document; `check_options` says it in words."""


class SystemOneChoice(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="choice"):
    """One of 2 to 26 options: a description of each by its name, or names only."""

    instructions: Instructions
    criteria: Annotated[dict[str, str | None], _OF_NAMES] | Annotated[list[str], _OF_ITEMS]


class SystemOneScore(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="score"):
    """A place on a scale of 2 to 26 levels, described from the lowest to the highest."""

    instructions: Instructions
    criteria: Annotated[list[str], _OF_ITEMS]


class NoulCriteria(msgspec.Struct, forbid_unknown_fields=True, rename={"yes": "true", "no": "false"}):
    """What it means that the answer is yes, and no."""

    yes: str = ""
    no: str = ""


class SystemOneNoul(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="noul"):
    """Yes or no."""

    instructions: Instructions
    criteria: NoulCriteria | None = None


SystemOneQuestion = SystemOneChoice | SystemOneScore | SystemOneNoul
QUESTION_TYPES: Final[dict[str, type[SystemOneQuestion]]] = {
    "choice": SystemOneChoice,
    "score": SystemOneScore,
    "noul": SystemOneNoul,
}
QuestionObject = Annotated[
    JSONObject, read_by_type("SystemOneQuestion", *(f"systemone.{each.__name__}" for each in QUESTION_TYPES.values()))
]
"""Read one by one, so that an error can name the question."""


class SystemOneRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/systemone."""

    model: ModelReference
    state: str | dict[str, JSONValue] | list[JSONValue]
    questions: Annotated[dict[str, QuestionObject], Meta(min_length=1, max_length=MAX_QUESTIONS)]
    images: Annotated[Refused, refused(_TEXT_ONLY, [])] = None


class InputText(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="input_text"):
    """A text."""

    text: str


class OutputText(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="output_text"):
    """A text of an assistant."""

    text: str


class RefusalPart(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="refusal"):
    """What an assistant said instead of an answer."""

    refusal: str


class InputJSON(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="input_json"):
    """A JSON value, which is shown as its text."""

    data: JSONValue


class InputImage(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="input_image"):
    """A picture; refused by its name."""

    image_url: str | None = None
    detail: str | None = None


Part = InputText | OutputText | RefusalPart | InputJSON | InputImage
Parts = str | list[Part]


class InputMessage(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What somebody said."""

    role: Literal["user", "assistant", "system", "developer"]
    content: Parts
    type: Literal["message"] = "message"
    phase: Annotated[str | None, LABEL] = None


class FunctionCall(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="function_call"):
    """A call of a function, its arguments as JSON text."""

    name: str
    arguments: str
    call_id: str
    id: str | None = None
    namespace: str | None = None
    status: str | None = None


class CustomToolCall(
    msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="custom_tool_call"
):
    """A call of a tool that takes a text."""

    name: str
    input: str
    call_id: str
    id: str | None = None
    namespace: str | None = None
    status: str | None = None


class FunctionOutput(
    msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="function_call_output"
):
    """What a function has answered."""

    output: Parts
    call_id: str
    id: str | None = None
    status: str | None = None


class CustomToolOutput(
    msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="custom_tool_call_output"
):
    """What a tool has answered."""

    output: Parts
    call_id: str
    id: str | None = None
    status: str | None = None


InputItem = InputMessage | FunctionCall | CustomToolCall | FunctionOutput | CustomToolOutput
ITEM_TYPES: Final[dict[str, type[InputItem]]] = {
    "message": InputMessage,
    "function_call": FunctionCall,
    "custom_tool_call": CustomToolCall,
    "function_call_output": FunctionOutput,
    "custom_tool_call_output": CustomToolOutput,
}
"""Messages may leave their type out."""
InputObject = Annotated[
    JSONObject, read_by_type("DecisionInput", *(f"decisions.{each.__name__}" for each in ITEM_TYPES.values()))
]
MAX_ITEMS: Final = 10_000


class Choice(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An option; a boolean is another one than its name as a text."""

    value: bool | str
    description: str | None = None


class Level(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A level of a scale."""

    label: Annotated[str, Meta(min_length=1)]
    description: str | None = None


class ChoiceQuestion(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="choice"):
    """One of 2 to 26 options."""

    instructions: Instructions | list[Part]
    choices: Annotated[list[Choice], _OF_ITEMS]
    name: str | None = None


class ScoreQuestion(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="score"):
    """A place on a scale of 2 to 26 levels, from the lowest to the highest."""

    instructions: Instructions | list[Part]
    levels: Annotated[list[Level], _OF_ITEMS]
    name: str | None = None


class PredicateQuestion(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="predicate"):
    """Whether something is true."""

    instructions: Instructions | list[Part]
    name: str | None = None


DecisionQuestion = ChoiceQuestion | ScoreQuestion | PredicateQuestion


class DecisionRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/decisions."""

    model: ModelReference
    input: str | Annotated[list[InputObject], Meta(min_length=1, max_length=MAX_ITEMS)]
    questions: Annotated[list[DecisionQuestion], Meta(min_length=1, max_length=MAX_QUESTIONS)]
    prompt_cache_key: CacheKey | None = None
    prompt_cache_options: Annotated[JSONObject | None, LABEL] = None
    safety_identifier: Annotated[str | None, LABEL] = None
