"""The API's document and the declarations behind it, against the app, the error table and the request's own types."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar.routes import HTTPRoute
from msgspec import inspect

from router.app import create_app
from router.http.dialect import OPENAI
from router.http.error_table import ERROR_ROWS
from router.http.page import PAGE_PATH
from router.protocols.endpoint import Endpoint
from router.protocols.fields.json_types import ANY_TITLES
from router.protocols.openapi import api_document
from router.protocols.table import APIS, DIALECTS, ENDPOINTS
from tests.support.fake_openai import FakeFront, with_front

SAYS_SOMETHING = {"type", "$ref", "enum", "const", "anyOf"}
_ROUTER = Path(__file__).parents[3] / "router"
API_CODE = [path for room in ("http", "protocols", "requests") for path in (_ROUTER / room).rglob("*.py")]
OF_OTHERS = {"x-accel-buffering", "x-content-type-options", "x-api-key"}
"""Headers for proxies and browsers, and the key's, which is one of the document's security schemes."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(api_document("1.2.3", ENDPOINTS, DIALECTS)), type=dict[str, Any])


def all_schemas(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of the document, and those within them."""
    roots = [(f"components.{name}", schema) for name, schema in document["components"]["schemas"].items()]
    for url, operations in document["paths"].items():
        for method, operation in operations.items():
            place = f"{method} {url}"
            roots += [(f"{place} {each['name']}", each["schema"]) for each in operation["parameters"] if "name" in each]
            answers = [*operation["responses"].values(), operation.get("requestBody", {})]
            for content in (each.get("content", {}) for each in answers):
                for media, shown in content.items():
                    roots += [(f"{place} {media}", schema) for schema in shown.values()]
    for place, schema in roots:
        yield from _within(place, schema)


def _within(place: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield place, schema
    for name, each in schema.get("properties", {}).items():
        yield from _within(f"{place}.{name}", each)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from _within(f"{place}[{key}]", schema[key])
    for key in ("anyOf", "prefixItems"):
        for index, each in enumerate(schema.get(key, [])):
            yield from _within(f"{place}.{key}[{index}]", each)


@with_front()
async def test_the_app_has_the_endpoints_that_are_declared(front: FakeFront) -> None:
    routes = [
        (method, re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path_format))
        for route in create_app(front.services).routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method != "OPTIONS"
    ]
    declared = [(row.method, row.url) for row in ENDPOINTS]
    # The page's files are no part of the API.
    assert sorted(routes) == sorted([*declared, ("GET", PAGE_PATH), ("GET", f"{PAGE_PATH}/{{name}}")])


@pytest.mark.parametrize("row", ENDPOINTS, ids=lambda row: f"{row.method} {row.url}")
def test_errors_come_in_the_dialect_of_the_protocol_or_in_openais(row: Endpoint) -> None:
    assert DIALECTS.of(row.url) in {row.api.dialect, OPENAI}


def test_the_documentation_lists_all_endpoints() -> None:
    lines = (Path(__file__).parents[3] / "docs" / "api.md").read_text().splitlines()
    shown = lines[lines.index("## All endpoints") + 4 :]
    assert shown == [f"| `{row.method} {row.url}` | {row.api.name} | {row.summary} |" for row in ENDPOINTS]


def test_no_schema_says_nothing_unless_it_says_so_by_its_name(document: dict[str, Any]) -> None:
    empty = [
        place
        for place, schema in all_schemas(document)
        if not SAYS_SOMETHING & schema.keys() and schema.get("title") not in ANY_TITLES
    ]
    assert empty == []


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    text = msgspec.json.encode(document).decode()
    for place in set(re.findall(r'"#/([^"]+)"', text)):
        node: Any = document
        for step in place.split("/"):
            assert step in node, place
            node = node[step]


def test_components_have_plain_names(document: dict[str, Any]) -> None:
    protocols = (
        "openai",
        "decisions",
        "rerank",
        "systemone",
        "responses",
        "conversations",
        "anthropic",
        "ollama",
        "llamaserver",
        "lmstudio",
        "mlxr",
    )
    for name in document["components"]["schemas"]:
        assert re.fullmatch(rf"({'|'.join(protocols)})\.[A-Z][A-Za-z]*", name), name


def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for operations in document["paths"].values() for operation in operations.values()]
    assert len(ids) == len(set(ids)) == len(ENDPOINTS)


def test_patterns_are_those_of_json_schema(document: dict[str, Any]) -> None:
    patterns = [schema["pattern"] for _, schema in all_schemas(document) if "pattern" in schema]
    assert patterns
    assert not [pattern for pattern in patterns if r"\Z" in pattern]


def test_errors_name_every_status_of_the_error_table(document: dict[str, Any]) -> None:
    for dialect in ("openai", "ollama", "anthropic"):
        shown = " ".join(
            document["components"]["responses"][f"{dialect}.{kind}"]["description"] for kind in ("4XX", "5XX")
        )
        assert all(f"{row.status}: " in shown for row in ERROR_ROWS.values())


def test_every_header_of_a_request_and_of_an_answer_is_in_the_document(document: dict[str, Any]) -> None:
    shown = {name.lower() for name in (*document["components"]["parameters"], *document["components"]["headers"])}
    for operation in (each for operations in document["paths"].values() for each in operations.values()):
        shown |= {each["name"].lower() for each in operation["parameters"] if each.get("in") == "header"}
        shown |= {name.lower() for each in operation["responses"].values() for name in each.get("headers", {})}
    used = {name for path in API_CODE for name in _headers_in(ast.parse(path.read_text()))}
    assert {"x-mlxr-speculation", "x-mlxr-context-wound", "anthropic-version", "request-id"} <= used
    assert used - shown - OF_OTHERS == set()


def _headers_in(module: ast.Module) -> Iterator[str]:
    """Yield headers that a module names: `NAME_HEADER = "name"`, and bytes that begin with `x-`."""
    for node in ast.walk(module):
        match node:
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.Constant(value=str(name))) if _is_header(target):
                yield name.lower()
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.Constant(value=bytes(name))) if _is_header(target):
                yield name.decode()
            case ast.Constant(value=bytes(name)) if name.startswith(b"x-"):
                yield name.decode()


def _is_header(constant: str) -> bool:
    return constant.endswith("_HEADER")


def test_no_struct_of_the_api_has_a_bare_any() -> None:
    bare: list[str] = []
    seen: set[type] = set()
    for type_ in _types():
        _find_any(inspect.type_info(type_), str(type_), bare, seen)
    assert len(seen) > 200, "the walk comes to the Structs within Structs"
    assert bare == []


def _types() -> Iterator[Any]:
    for row in ENDPOINTS:
        yield from (type_ for answer in row.answers.values() for type_ in answer.types)
        yield from row.stream_types
        yield from () if row.body is None else (row.body.type,)
    for api in APIS:
        yield from (*api.read_by_type, api.dialect.shape)


def _find_any(info: Any, place: str, bare: list[str], seen: set[type]) -> None:
    """Walk all types within a type; `bare` gets the places of those that say nothing and have no name."""
    match info:
        case inspect.Metadata(type=inspect.AnyType() | inspect.RawType(), extra_json_schema=said):
            if said is None or (said.get("title") not in ANY_TITLES and "type" not in said):
                bare.append(place)
        case inspect.AnyType() | inspect.RawType():
            bare.append(place)
        case inspect.StructType(cls=cls, fields=fields):
            if cls not in seen:
                seen.add(cls)
                for field in fields:
                    _find_any(field.type, f"{cls.__module__}.{cls.__qualname__}.{field.name}", bare, seen)
        case inspect.Type():
            for name in _INNER & set(info.__struct_fields__):
                inner = getattr(info, name)
                for each in inner if isinstance(inner, tuple) else (inner,):
                    _find_any(each, place, bare, seen)


_INNER = {"type", "types", "item_type", "item_types", "value_type"}


@with_front()
async def test_the_document_is_served_and_made_once(front: FakeFront) -> None:
    first = await front.client.get("/schema")
    again = await front.client.get("/schema/openapi.json")
    assert first.headers["content-type"] == "application/json"
    assert first.content == again.content
    assert first.json()["info"]["version"] == "0.0.0"
