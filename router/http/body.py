"""Reads a request body within limits and decodes it, strictly, into a Struct.

Not here: what a field means, and any other body than JSON. The content type is not required to be JSON, because
`curl -d` sends `application/x-www-form-urlencoded` and the documentation of every peer shows `curl -d`; that a web page
can send such a body without a preflight is what `router.http.guards` is for.

`decode_json` refuses with a 400 whatever would break something further in: nesting (the decoder recurses), invalid
UTF-8, lone surrogates, NaN and infinity, integers over 64 bits, duplicate keys (two readers of the same text must not
see two values), anything that is not one object.
"""

import codecs
import json
import re
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import msgspec

from router.errors import (
    ClientDisconnectedError,
    InvalidJSONError,
    InvalidRequestError,
    MissingFieldError,
    RequestTooLargeError,
    UnknownFieldError,
    UnsupportedMediaTypeError,
)
from router.http.asgi import Receive, Scope
from router.http.fitting import fit
from router.http.ignored import may_leave_out, note_ignored

T = TypeVar("T", bound=msgspec.Struct)
PartT = TypeVar("PartT")

# Levels of arrays and objects in a body. A JSON schema of 64 levels, the deepest that is accepted elsewhere, takes two
# levels of JSON for each of its own ("properties" and the property); the recursion limit of CPython is 1000.
MAX_NESTING = 200

# Arrays and objects in a body. A list of two characters in the text costs 56 bytes in memory, so that the size of the
# body alone does not bound the memory; a chat of 10,000 messages has about 30,000.
MAX_CONTAINERS = 100_000

# Strings in a body, keys included: bounds the time to find them. 10,000 messages have about 60,000.
MAX_STRINGS = 500_000

_SLICE_BYTES = 1 << 20

# 19 digits always fit an unsigned 64-bit integer, which is what the frames to the workers can carry.
_LONG_INTEGER = re.compile(rb"(?<![0-9.eE+\-])-?[0-9]{20,}+(?![.eE])")
_NON_STRUCTURE = bytes(set(range(256)) - set(b"[]{}"))
_CURLY_TO_SQUARE = bytes.maketrans(b"{}", b"[]")

_FIELD_PROBLEM = re.compile(r"Object (?P<kind>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)
_JSON_WORDS = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_PYTHON_WORD = re.compile(r"\b(?:str|int|float|bool)\b")


async def read_body(scope: Scope, receive: Receive, *, limit_bytes: int) -> bytes:
    """Read a body up to a limit, whether its length was declared or not.

    Raises:
        RequestTooLargeError: More bytes than `limit_bytes`, declared or sent.
        UnsupportedMediaTypeError: The body is multipart, or compressed.
        ClientDisconnectedError: The client went away before the body was complete.
    """
    headers = dict(scope["headers"])
    _check_media(headers)
    declared = headers.get(b"content-length", b"0")
    # A length of more digits than the limit has is larger, whatever it says: no int() of a long text.
    if len(declared) > len(str(limit_bytes)) or (declared.isdigit() and int(declared) > limit_bytes):
        raise RequestTooLargeError(limit_bytes)
    chunks: list[bytes] = []
    num_bytes = 0
    async for chunk in body_chunks(receive):
        num_bytes += len(chunk)
        if num_bytes > limit_bytes:
            raise RequestTooLargeError(limit_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


async def body_chunks(receive: Receive) -> AsyncIterator[bytes]:
    """Yield a body as it comes, whatever it is; no piece is empty.

    Raises:
        ClientDisconnectedError: The client went away before the body was complete.
    """
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnectedError
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body", False):
            return


def decode_json(body: bytes, struct_type: type[T]) -> T:
    """Decode a body strictly: no duplicate keys, bounded nesting, no coercion but what `fitting` does.

    Args:
        body: The bytes of one JSON object.

    Raises:
        InvalidJSONError: Not one JSON object in UTF-8, or one beyond the limits of this module.
        MissingFieldError: A required field is absent.
        UnknownFieldError: `struct_type` forbids unknown fields, one is there, and such are to be refused.
        InvalidRequestError: A field has another type or value than `struct_type` says.
    """
    return convert_part(_checked_tree(body, struct_type), struct_type)


def decode_object(body: bytes) -> dict[str, Any]:
    """Decode any JSON object, as strictly; errors as of `decode_json`."""
    tree = _checked_tree(body, dict)
    return tree if isinstance(tree, dict) else convert_part(tree, dict)


def convert_part(value: object, type_: type[PartT], where: str = "") -> PartT:
    """Read a part of a decoded body, such as a Struct of which only the content says which one it is.

    Args:
        value: Objects, lists and plain values, as `decode_json` gives them for `Any`.
        where: Its path in the body, for errors.

    Raises:
        InvalidRequestError: Errors as of `decode_json`; `param` begins with `where`.
    """
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as exc:
        refused = exc
    fitted, fitting = fit(value, type_, where.removeprefix("."), drops_unknown=may_leave_out())
    if fitting.has_changed:
        note_ignored(fitting.unknown)
        try:
            return msgspec.convert(fitted, type_)
        except msgspec.ValidationError as exc:
            refused = exc
    raise _field_error(str(refused), where) from refused


def _check_media(headers: dict[bytes, bytes]) -> None:
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type.startswith(b"multipart/"):
        raise UnsupportedMediaTypeError("Multipart bodies are not read here; send the request as JSON.")
    if headers.get(b"content-encoding", b"identity").strip().lower() not in {b"", b"identity"}:
        raise UnsupportedMediaTypeError("Compressed bodies are not read; send the JSON without Content-Encoding.")


def _text_outside_strings(body: bytes) -> bytes:
    """Drop the contents of all strings, in linear time and memory, without a loop over bytes.

    Escapes are dropped first, so that every quote left opens or closes a string; then the text is split at the quotes,
    and every other piece lies outside strings. In what is left, a colon is a key and a bracket is a container.
    """
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    if plain.count(b'"') > 2 * MAX_STRINGS:
        raise InvalidJSONError(f"The request body has more than {MAX_STRINGS} strings.")
    outside: list[bytes] = []
    is_inside = False
    # In slices, because a split of the whole body could take 20 times its size.
    for start in range(0, len(plain), _SLICE_BYTES):
        pieces = plain[start : start + _SLICE_BYTES].split(b'"')
        outside.append(b'"'.join(pieces[is_inside::2]))
        is_inside ^= len(pieces) % 2 == 0
    return b"".join(outside)


def _check_structure(outside: bytes) -> None:
    structure = outside.translate(_CURLY_TO_SQUARE, _NON_STRUCTURE)
    num_containers = structure.count(b"[")
    if num_containers > MAX_CONTAINERS:
        raise InvalidJSONError(f"The request body has more than {MAX_CONTAINERS} arrays and objects.")
    if num_containers > MAX_NESTING and _nesting_of(structure) > MAX_NESTING:
        raise InvalidJSONError(f"The request body is nested more than {MAX_NESTING} levels deep.")
    if _LONG_INTEGER.search(outside) is not None:
        raise InvalidJSONError("The request body has an integer of 20 digits or more; 64 bits hold 19.")


def _nesting_of(structure: bytes) -> int:
    """Count the levels of a text of square brackets; over `MAX_NESTING` any larger number will do.

    Each round takes away the innermost level. What never closes is counted as nested, which it is.
    """
    for level in range(MAX_NESTING + 1):
        peeled = structure.replace(b"[]", b"")
        if len(peeled) == len(structure):
            return level + peeled.count(b"[")
        structure = peeled
    return MAX_NESTING + 1


def _checked_tree(body: bytes, type_: Any) -> Any:
    """Parse a body within the limits of this module.

    Args:
        type_: That it is to be: it knows the field of a number that is out of range.
    """
    # RFC 8259 section 8.1: parsers "MAY ignore the presence of a byte order mark"; tools on Windows write one.
    body = body.removeprefix(codecs.BOM_UTF8)
    if not body.strip():
        raise InvalidJSONError("The request body is empty; send a JSON object.")
    outside = _text_outside_strings(body)
    _check_structure(outside)
    try:
        tree = _parsed(body, type_)
    except msgspec.ValidationError as exc:
        raise _field_error(str(exc)) from exc
    except msgspec.DecodeError as exc:
        raise InvalidJSONError(f"The request body is not valid JSON: {exc}.") from exc
    except UnicodeDecodeError as exc:
        raise InvalidJSONError("The request body is not valid UTF-8.") from exc
    if _num_keys(tree) != outside.count(b":"):
        raise _duplicate_key_error(body)
    return tree


def _parsed(body: bytes, type_: Any) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.ValidationError:
        msgspec.json.decode(body, type=type_)  # which names the field of the number
        raise


def _num_keys(tree: Any) -> int:
    """Count the keys of all objects, without recursion."""
    num_keys = 0
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            num_keys += len(node)
            pending.extend(child for child in node.values() if isinstance(child, (dict, list)))
        elif isinstance(node, list):
            pending.extend(child for child in node if isinstance(child, (dict, list)))
    return num_keys


def _duplicate_key_error(body: bytes) -> InvalidJSONError:
    """Name the key; only called for a body that is known to have one."""
    found: list[str] = []

    def note_duplicates(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found.append(key)
            seen.add(key)

    json.loads(body, object_pairs_hook=note_duplicates)
    name = found[0] if found else "?"
    return InvalidJSONError(f"The request body has the key '{name}' twice in one object.", name)


def _field_error(text: str, where: str = "") -> InvalidRequestError:
    """Translate a message of msgspec: `Expected `str`, got `int` - at `$.messages[0].role``."""
    problem, separator, place = text.rpartition(" - at `$")
    if not separator:
        problem, place = text, "`"
    path = (where + place.removesuffix("`")).removeprefix(".")
    match = _FIELD_PROBLEM.fullmatch(problem)
    if match is not None:
        param = f"{path}.{match['name']}" if path else match["name"]
        if match["kind"] == "missing required":
            return MissingFieldError(f"The field '{param}' is required.", param)
        return UnknownFieldError(f"The field '{param}' is not known here.", param)
    words = _PYTHON_WORD.sub(lambda word: _JSON_WORDS[word[0]], problem)
    sentence = words[:1].lower() + words[1:]
    if not path:
        return InvalidJSONError(f"The request body: {sentence}.")
    return InvalidRequestError(f"The field '{path}': {sentence}.", path)
