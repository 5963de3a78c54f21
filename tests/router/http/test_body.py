import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import (
    ClientDisconnectedError,
    InvalidJSONError,
    InvalidRequestError,
    MissingFieldError,
    RequestTooLargeError,
    UnknownFieldError,
    UnsupportedMediaTypeError,
)
from router.http.body import MAX_CONTAINERS, MAX_NESTING, MAX_STRINGS, decode_json, decode_object, read_body


class Message(msgspec.Struct, forbid_unknown_fields=True):
    role: str
    content: str | None = None


class Chat(msgspec.Struct, forbid_unknown_fields=True):
    model: str
    messages: list[Message] = []
    n: int = 1
    temperature: float | None = None
    stream: bool = False
    extra: Any = None
    logit_bias: dict[str, float] | None = None


class Request:
    """A request whose body arrives in the given chunks; `None` stands for the client going away."""

    def __init__(self, chunks: list[bytes | None], headers: dict[str, str] | None = None) -> None:
        self.scope = {"headers": [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()]}
        self._chunks = chunks
        self.num_received = 0

    async def receive(self) -> dict[str, Any]:
        chunk = self._chunks[self.num_received]
        self.num_received += 1
        if chunk is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": self.num_received < len(self._chunks)}


async def read_chat(request: Request, limit_bytes: int = 100) -> Chat:
    return decode_json(await read_body(request.scope, request.receive, limit_bytes=limit_bytes), Chat)


def test_a_good_body_is_decoded() -> None:
    chat = decode_json(b'{"model":"m","messages":[{"role":"user","content":"\\ud83d\\ude00"}]}', Chat)
    assert chat.messages[0].content == "\U0001f600"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "empty"),
        (b" \r\n\t", "empty"),
        (b"null", "object"),
        (b"[]", "object"),
        (b'"x"', "object"),
        (b"1", "object"),
        (b"{", "not valid JSON"),
        (b'{"model":"m",}', "trailing comma"),
        (b'{"model":"m"} {}', "trailing"),
        (b"model=m&stream=1", "not valid JSON"),
        (b'{"model":"\xff"}', "UTF-8"),
        (b'{"model":"\xed\xa0\x80"}', "UTF-8"),
        (b'{"model":"m","extra":{"\xc0\xaf":1}}', "UTF-8"),
        (b'{"model":"\\ud800"}', "not valid JSON"),
        (b'{"model":"m","extra":["\\udc00x"]}', "surrogate"),
        (b'{"model":"m","temperature":NaN}', "not valid JSON"),
        (b'{"model":"m","extra":Infinity}', "not valid JSON"),
        (b'{"model":"m","extra":-Infinity}', "not valid JSON"),
        (b'{"model":"m","n":1' + b"0" * 100_000 + b"}", "20 digits"),
        (b'{"model":"m","extra":[-1' + b"0" * 19 + b"]}", "20 digits"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 100_000, "nested"),
        (b'{"model":"m","extra":' + b"[" * 300 + b"]" * 300 + b"}", "nested"),
        (b'{"model":"m","extra":[' + b"[]," * MAX_CONTAINERS + b"[]]}", "arrays and objects"),
        (b'{"model":"m","extra":["' + b'","' * MAX_STRINGS + b'"]}', "strings"),
        (b'{"model":"a","model":"b"}', "'model' twice"),
        (b'{"model":"m","extra":[{"x":{"y":1,"y":2}}]}', "'y' twice"),
        (b'{"model":"m","extra":{"a":1,"\\u0061":2}}', "'a' twice"),
    ],
    ids=lambda v: repr(v[:40]) if isinstance(v, bytes) else v,
)
def test_what_is_not_one_sound_json_object_is_invalid_json(body: bytes, problem: str) -> None:
    with pytest.raises(InvalidJSONError) as caught:
        decode_json(body, Chat)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("body", "error", "param"),
    [
        ({}, MissingFieldError, "model"),
        ({"model": "m", "messages": [{"role": "user"}, {}]}, MissingFieldError, "messages[1].role"),
        ({"model": "m", "nope": 1}, UnknownFieldError, "nope"),
        ({"model": "m", "messages": [{"role": "user", "x": 1}]}, UnknownFieldError, "messages[0].x"),
        ({"model": 1}, InvalidRequestError, "model"),
        ({"model": "m", "messages": [{"role": 1}]}, InvalidRequestError, "messages[0].role"),
        ({"model": "m", "stream": 0}, InvalidRequestError, "stream"),
        ({"model": "m", "n": 1.5}, InvalidRequestError, "n"),
        ({"model": "m", "n": "1"}, InvalidRequestError, "n"),
        ({"model": "m", "logit_bias": {"5": "x"}}, InvalidRequestError, "logit_bias[...]"),
    ],
    ids=str,
)
def test_a_wrong_field_is_named_by_its_path(body: Any, error: type[InvalidRequestError], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decode_json(json.dumps(body).encode(), Chat)
    assert type(caught.value) is error
    assert caught.value.param == param
    assert f"'{param}'" in str(caught.value)


def test_a_number_too_large_for_a_float_is_refused_with_its_field() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decode_json(b'{"model":"m","temperature":1e999}', Chat)
    assert caught.value.param == "temperature"


def test_types_are_named_in_json_words() -> None:
    with pytest.raises(InvalidRequestError, match="expected `string`, got `integer`"):
        decode_json(b'{"model":1}', Chat)


def test_brackets_quotes_colons_and_digits_inside_strings_do_not_count() -> None:
    text = '[[{{::"\\' * 300 + "1" * 400
    assert decode_json(json.dumps({"model": text, "extra": "\\"}).encode(), Chat).model == text


def test_nesting_up_to_the_limit_is_served() -> None:
    levels = MAX_NESTING - 1  # the object itself is one
    body = b'{"model":"m","extra":' + b"[" * levels + b"]" * levels + b"}"
    assert decode_json(body, Chat).model == "m"
    with pytest.raises(InvalidJSONError):
        decode_json(body.replace(b"[]", b"[[]]"), Chat)


def test_long_digit_runs_are_fine_in_fractions_and_19_digits_in_integers() -> None:
    body = b'{"model":"m","temperature":0.10000000000000000555111512312578270211815834045410,"n":9223372036854775807}'
    assert decode_json(body, Chat).n == 2**63 - 1


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # A lone surrogate has no UTF-8; everything else a client can say is in.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@given(JSON_VALUES, st.booleans())
def test_any_valid_json_value_is_accepted_as_the_standard_library_writes_it(value: Any, ascii_only: bool) -> None:  # noqa: FBT001 - drawn
    body = json.dumps({"model": "m", "extra": value}, ensure_ascii=ascii_only).encode()
    decoded = decode_json(body, Chat).extra
    assert json.dumps(decoded) == json.dumps(json.loads(json.dumps(value)))


@given(st.binary(max_size=200) | st.text('[]{}":,\\0123456789eE+-.truefalsn ud8', max_size=200).map(str.encode))
def test_any_bytes_end_in_a_result_or_a_request_error(body: bytes) -> None:
    for candidate in (body, b'{"model":"m","extra":' + body + b"}"):
        try:
            decode_json(candidate, Chat)
        except InvalidRequestError as error:
            assert str(error)  # noqa: PT017 - most inputs raise, some do not


def test_a_byte_order_mark_is_left_out() -> None:
    body = b'{"model":"m"}'
    assert decode_object(b"\xef\xbb\xbf" + body) == decode_object(body)
    for again in (b"\xef\xbb\xbf\xef\xbb\xbf" + body, body + b"\xef\xbb\xbf", b"\xef\xbb\xbf"):
        with pytest.raises(InvalidJSONError):
            decode_object(again)


async def test_a_body_in_chunks_is_joined() -> None:
    request = Request([b'{"mo', b"", b'del":"m"}'])
    assert (await read_chat(request)).model == "m"


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "", "application/json"])
async def test_the_content_type_does_not_matter(content_type: str) -> None:
    request = Request([b'{"model":"m"}'], {"Content-Type": content_type})
    assert (await read_chat(request)).model == "m"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "Multipart/Mixed; boundary=" + "-" * 100_000},
        {"Content-Encoding": "gzip"},
    ],
    ids=["form", "long boundary", "gzip"],
)
async def test_multipart_and_compressed_bodies_are_refused_unread(headers: dict[str, str]) -> None:
    request = Request([b"--x"], headers)
    with pytest.raises(UnsupportedMediaTypeError):
        await read_chat(request)
    assert request.num_received == 0


@pytest.mark.parametrize("declared", ["101", "99999999999", "9" * 5000])
async def test_a_declared_length_over_the_limit_is_refused_unread(declared: str) -> None:
    request = Request([b"{}"], {"Content-Length": declared})
    with pytest.raises(RequestTooLargeError):
        await read_chat(request)
    assert request.num_received == 0


async def test_a_body_without_a_length_is_cut_at_the_limit() -> None:
    request = Request([b"x" * 60] * 1000)
    with pytest.raises(RequestTooLargeError):
        await read_chat(request)
    assert request.num_received == 2


async def test_a_body_of_exactly_the_limit_is_read() -> None:
    body = b'{"model":"m"}'
    assert (await read_chat(Request([body]), len(body))).model == "m"


async def test_a_client_that_goes_away_in_mid_body_ends_the_read() -> None:
    with pytest.raises(ClientDisconnectedError):
        await read_chat(Request([b'{"model"', None]))
