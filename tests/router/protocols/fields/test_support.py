"""What is said of fields beside their types: found in bodies, asked by validation, told in errors."""

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from registry.engines import EngineKind
from router.errors import InvalidRequestError, MissingFieldError, UnknownFieldError, UnsupportedFieldError
from router.protocols.anthropic.schemas import MessagesRequest
from router.protocols.fields.support import (
    LABEL,
    Field,
    Support,
    decode_body,
    fields_of,
    honoured,
    neutral_only,
    not_honoured,
    refuse_unsupported,
    refused,
    with_allowed_values,
)
from router.protocols.ollama import schemas as ollama
from router.protocols.openai.schemas import ChatRequest, CompletionRequest
from router.protocols.responses.schemas import ResponseRequest

Fraction = Annotated[float, Meta(ge=0, le=1), honoured("1 is all")]


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    a: int | None = None
    b: Annotated[str | None, refused("send a", "", engines={EngineKind.MLX: honoured("of letters")})] = None


class Unsaid(msgspec.Struct, forbid_unknown_fields=True):
    z: int


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    share: Fraction | None = None
    one: Inner | None = None
    many: list[Inner] = []
    text: str | list[Inner] | None = None
    unsaid: Unsaid | None = None
    store: Annotated[bool | None, neutral_only(False)] = None
    count: Annotated[int | None, neutral_only(1, -1)] = None
    user: Annotated[str | None, LABEL] = None


def asked(engine: EngineKind | None = None, **fields: Any) -> list[str]:
    return [path for path, _ in not_honoured(msgspec.convert(fields, Body), engine)]


def test_fields_are_found_by_path_with_those_of_objects_of_which_something_is_said() -> None:
    paths = [*("share", "one.a", "one.b", "many", "many[].a", "many[].b", "text", "text[].a", "text[].b")]
    assert list(fields_of(Body)) == [*paths, "unsaid", "store", "count", "user"]
    assert fields_of(Body)["share"].allowed == "a number from 0 to 1; 1 is all"
    assert fields_of(Body)["unsaid"].allowed == "an object"
    assert fields_of(Body)["user"].allowed == "a text"
    assert fields_of(Body)["store"].allowed == ""


def test_what_asks_for_nothing_passes() -> None:
    assert asked() == asked(store=False, count=1, user="x", one={"a": 5, "b": ""}, unsaid={"z": 1}) == []


def test_what_asks_for_something_is_named_but_for_lists_which_who_reads_them_asks_about() -> None:
    assert asked(store=True, count=2, one={"b": "x"}, many=[{"b": "x"}]) == ["one.b", "store", "count"]
    assert [path for path, _ in not_honoured(Inner(b="x"))] == ["b"]


def test_an_engine_may_do_otherwise() -> None:
    assert asked(EngineKind.LLAMACPP, one={"b": "x"}) == ["one.b"]
    assert asked(EngineKind.MLX, one={"b": "x"}) == []
    assert fields_of(Inner)["b"].field.on(EngineKind.MLX).support is Support.HONOURED


def test_zero_is_neutral_in_either_number_type_but_a_boolean_is_no_number() -> None:
    one = neutral_only(1)
    assert one.is_neutral(1.0)
    assert one.is_neutral(None)
    assert not one.is_neutral(True)
    assert not one.is_neutral(2)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (Body(store=True), "store is not supported by this version of mlxr; leave it out, or send false"),
        (Body(count=3), "count is not supported by this version of mlxr; leave it out, or send 1, -1"),
        (Body(one=Inner(b="x")), "one.b is not supported by this version of mlxr; send a"),
    ],
)
def test_a_refusal_names_the_field_and_the_way_out(body: Body, words: str) -> None:
    with pytest.raises(UnsupportedFieldError) as caught:
        refuse_unsupported(body, EngineKind.LLAMACPP)
    assert str(caught.value) == words
    assert caught.value.param == words.partition(" ")[0]


@pytest.mark.parametrize(
    ("raw", "error", "words"),
    [
        (b'{"share": 2}', InvalidRequestError, "<= 1.0; allowed: a number from 0 to 1; 1 is all."),
        (b'{"many": [{"a": "x"}]}', InvalidRequestError, "expected `integer | null`, got `string`; allowed: a whole"),
        (b'{"unsaid": {}}', MissingFieldError, "'unsaid.z' is required; allowed: an object."),
        (b'{"unsaid": {"y": 1}}', UnknownFieldError, "The field 'unsaid.y' is not known here."),
        (b'{"store": 5}', InvalidRequestError, "'store': expected `boolean | null`, got `integer`."),
    ],
)
def test_a_decoders_error_says_what_is_allowed(raw: bytes, error: type[InvalidRequestError], words: str) -> None:
    with pytest.raises(error) as caught:
        decode_body(raw, Body)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (ChatRequest, "temperature", "allowed: a number from 0 to 5; 0 is greedy."),
        (ChatRequest, "stop[3]", "allowed: a text of up to 256 characters or a list of up to 16 texts of up to 256"),
        (ChatRequest, "messages[2].role", "allowed: system, developer, user, assistant, tool or function."),
        (ChatRequest, "tools[0].function.name", "allowed: a list of up to 128 objects"),
        (CompletionRequest, "prompt[0][1]", "allowed: a text or a list of 1 or more texts, whole numbers from 0"),
        (ResponseRequest, "text.format.type", "allowed: an object of type text, json_object or json_schema."),
        (
            MessagesRequest,
            "messages[0].content[1].type",
            "a list of objects; what is no text, and no image that the model sees, is said in words, but in the last",
        ),
        (ollama.ChatRequest, "options.top_p", "allowed: a number from 0 to 1; 0 = the most probable token."),
    ],
)
def test_every_protocol_says_it_alike(body: type[msgspec.Struct], param: str, words: str) -> None:
    error = with_allowed_values(InvalidRequestError(f"The field '{param}': bad.", param), body)
    assert words in str(error)
    assert error.param == param


def test_an_error_about_no_field_stays_as_it_is() -> None:
    for error in (InvalidRequestError("no param"), InvalidRequestError("elsewhere", "x.y")):
        assert with_allowed_values(error, ChatRequest) is error


BODIES: list[type[msgspec.Struct]] = [
    *(ChatRequest, CompletionRequest, ResponseRequest, MessagesRequest),
    *(ollama.ChatRequest, ollama.GenerateRequest, ollama.EmbedRequest),
]


@pytest.mark.parametrize("body", BODIES)
def test_whatever_is_refused_has_a_way_out_and_whatever_is_not_says_what_is_allowed(body: type[msgspec.Struct]) -> None:
    for row in fields_of(body).values():
        sides: list[Field] = [row.field, *row.field.engines.values()]
        assert all(side.hint for side in sides if side.support is Support.REFUSED), row.path
        assert row.allowed or row.field.support in {Support.REFUSED, Support.NEUTRAL_ONLY}, row.path


def test_no_field_that_may_be_anything_is_honoured_by_accident() -> None:
    anything = {
        path for body in BODIES for path, row in fields_of(body).items() if row.allowed.startswith("any JSON value")
    }
    labels = {"messages[].parsed", "messages[].audio", "client_metadata", "access_programs", "prediction"}
    assert anything - labels == {"messages[].reasoning", "messages[].content[].thinking"}, "read where they are texts"
