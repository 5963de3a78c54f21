"""Bodies of decisions to a state and questions about it, field by field; what is refused names its field. Pure."""

from typing import Any, TypeVar

import msgspec

from router.errors import InvalidRequestError, UnsupportedFieldError
from router.http.body import convert_part
from router.protocols.decisions.questions import Option, Question, QuestionKind, check_options, yes_or_no
from router.protocols.decisions.schemas import (
    ITEM_TYPES,
    QUESTION_TYPES,
    ChoiceQuestion,
    CustomToolCall,
    CustomToolOutput,
    DecisionQuestion,
    DecisionRequest,
    FunctionCall,
    FunctionOutput,
    InputImage,
    InputItem,
    InputJSON,
    InputMessage,
    NoulCriteria,
    Part,
    PredicateQuestion,
    RefusalPart,
    ScoreQuestion,
    SystemOneChoice,
    SystemOneNoul,
    SystemOneQuestion,
    SystemOneRequest,
    SystemOneScore,
)

StructT = TypeVar("StructT", bound=msgspec.Struct)


class Asked(msgspec.Struct, frozen=True):
    """What a body asks.

    Attributes:
        state: What all questions are about.
        param: The body's field that it came by, for errors.
    """

    state: str
    questions: tuple[Question, ...]
    param: str


# ---- System One ------------------------------------------------------------------------------------------------------


def systemone_asked(body: SystemOneRequest) -> Asked:
    """Return what a body of System One asks.

    Raises:
        InvalidRequestError: A question cannot be asked as it is.
    """
    state = body.state if isinstance(body.state, str) else _json(body.state)
    questions = (_systemone_question(name, each, f"questions.{name}") for name, each in body.questions.items())
    return Asked(state, tuple(questions), "state")


def _systemone_question(name: str, sent: dict[str, Any], param: str) -> Question:
    asked: SystemOneQuestion = convert_part(sent, _type_of(sent, "", QUESTION_TYPES, param), param)
    match asked:
        case SystemOneChoice(criteria=dict() as criteria):
            kind, options = QuestionKind.CHOICE, tuple(Option(key, what or "") for key, what in criteria.items())
        case SystemOneChoice(criteria=names):
            kind, options = QuestionKind.CHOICE, tuple(map(Option, names))
        case SystemOneScore(criteria=levels):
            kind, options = QuestionKind.SCORE, tuple(Option("", level) for level in levels)
        case SystemOneNoul(criteria=criteria):
            said = criteria or NoulCriteria()
            kind, options = QuestionKind.PREDICATE, yes_or_no(said.yes, said.no)
    options = check_options(options, f"{param}.criteria")
    return Question(name=name, kind=kind, instructions=asked.instructions, options=options)


# ---- OpenAI ----------------------------------------------------------------------------------------------------------


def decision_asked(body: DecisionRequest) -> Asked:
    """Return what a body of OpenAI's asks.

    Raises:
        InvalidRequestError: A question, or an item of the input, cannot be read.
        UnsupportedFieldError: There is a picture.
    """
    questions = (_question(each, f"questions[{index}]") for index, each in enumerate(body.questions))
    return Asked(_state(body.input), tuple(questions), "input")


def choice_values(asked: DecisionQuestion) -> list[bool | str]:
    """Return what a choice's options are in the answer."""
    return [choice.value for choice in asked.choices] if isinstance(asked, ChoiceQuestion) else []


def _question(asked: DecisionQuestion, param: str) -> Question:
    match asked:
        case ChoiceQuestion(choices=choices):
            _refuse_twins(choices, f"{param}.choices")
            kind, field = QuestionKind.CHOICE, "choices"
            options = tuple(Option(_shown_value(each.value, choices), each.description or "") for each in choices)
        case ScoreQuestion(levels=levels):
            kind, field = QuestionKind.SCORE, "levels"
            options = tuple(Option(each.label, each.description or "") for each in levels)
        case PredicateQuestion():
            kind, field, options = QuestionKind.PREDICATE, "type", yes_or_no()
    instructions = _parts(asked.instructions, f"{param}.instructions")
    if not instructions.strip():
        raise InvalidRequestError(
            f"{param}.instructions: it is empty; say what is to be decided", f"{param}.instructions"
        )
    return Question(
        name=asked.name, kind=kind, instructions=instructions, options=check_options(options, f"{param}.{field}")
    )


def _refuse_twins(choices: list[Any], param: str) -> None:
    values = [(type(each.value), each.value) for each in choices]
    for index, value in enumerate(values):
        if value in values[:index]:
            raise InvalidRequestError(f"{param}: {value[1]!r:.80} is there twice; name each option once", param)


def _shown_value(value: bool | str, choices: list[Any]) -> str:  # noqa: FBT001 - a client's value
    """Return what a model is shown of an option; a boolean beside a text of its name is told apart from that."""
    if isinstance(value, str):
        return value
    name = "true" if value else "false"
    return f"{name} (boolean)" if any(each.value == name for each in choices) else name


def _state(said: str | list[dict[str, Any]]) -> str:
    """Return an input as one text; what several speakers said as a transcript."""
    if isinstance(said, str):
        return said
    items = [_item(item, f"input[{index}]") for index, item in enumerate(said)]
    is_plain = all(isinstance(item, InputMessage) and item.role == "user" for item in items)
    shown = (_shown(item, f"input[{index}]", has_speaker=not is_plain) for index, item in enumerate(items))
    return "\n\n".join(shown)


def _item(item: dict[str, Any], where: str) -> InputItem:
    read: InputItem = convert_part(item, _type_of(item, "message", ITEM_TYPES, where), where)
    return read


def _type_of(sent: dict[str, Any], usual: str, types: dict[str, type[StructT]], where: str) -> type[StructT]:
    """Return the Struct that an object's `type` names; `usual` is that of objects without one."""
    kind = sent.get("type", usual)
    struct = types.get(kind) if isinstance(kind, str) else None
    if struct is None:
        problem = f"{kind!r:.80} is not known" if kind else "it is missing"
        raise InvalidRequestError(f"{where}.type: {problem}; send {', '.join(types)}", f"{where}.type")
    return struct


def _shown(item: InputItem, where: str, *, has_speaker: bool) -> str:
    match item:
        case InputMessage(role=role, content=content):
            text = _parts(content, f"{where}.content")
            return f"{role}: {text}" if has_speaker else text
        case FunctionCall(name=name, arguments=given) | CustomToolCall(name=name, input=given):
            return f"assistant calls {name}: {given}"
        case FunctionOutput(output=output) | CustomToolOutput(output=output):
            return f"result of the call: {_parts(output, f'{where}.output')}"


def _parts(said: str | list[Part], where: str) -> str:
    """Return the texts of parts, line by line.

    Raises:
        UnsupportedFieldError: One is a picture.
    """
    if isinstance(said, str):
        return said
    return "\n".join(_part(part, f"{where}[{index}]") for index, part in enumerate(said))


def _part(part: Part, where: str) -> str:
    match part:
        case InputImage():
            raise UnsupportedFieldError(f"{where}: decisions are taken over texts here; leave the picture out", where)
        case InputJSON(data=data):
            return _json(data)
        case RefusalPart(refusal=text):
            return text
    return part.text


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
