"""The API's document, OpenAPI 3.1, out of the table of endpoints. Pure; not imported at the start.

Types become components by msgspec, one namespace per protocol: `ollama.ChatRequest`. OpenAPI 3.1 has no word for the
pieces of a stream: their schema stands under `x-item-schema` of its media type.

Source: OpenAPI Specification 3.1.1; JSON Schema 2020-12.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from router.http.error_response import Dialect
from router.http.error_table import ERROR_ROWS
from router.protocols.endpoints.base import JSON, Answer, Endpoint, Parameter
from router.protocols.endpoints.table import ENDPOINTS, ERRORS, PROTOCOLS, READ_BY_TYPE, WISH_HEADERS
from router.protocols.fields.json_types import JSONObject

_REF: Final = "#/components/schemas/{protocol}.{{name}}"
_BYTES: Final = {"type": "string", "format": "binary"}
_SERVER_ERRORS: Final = 500
_PYTHON_END: Final = r"\\Z"
_CAVEAT: Final = (
    "Keys are accepted and not looked at: whoever reaches the server may use all of it. It listens on loopback unless "
    "the config says otherwise, and refuses web pages of other origins."
)


def api_document(version: str, endpoints: Sequence[Endpoint] = ENDPOINTS) -> JSONObject:
    """Return the document."""
    components = _Components(endpoints)
    paths: dict[str, JSONObject] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.url, {})[endpoint.method.lower()] = _operation(endpoint, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "mlxr", "version": version, "description": _CAVEAT},
        "tags": [{"name": name, "description": what} for name, what in PROTOCOLS.items()],
        "paths": paths,
        "components": {
            "schemas": components.schemas,
            "responses": {_error_name(*key): _error(*key, components) for key in _error_keys()},
            "parameters": {header.name: _parameter(header, "header") for header in WISH_HEADERS},
        },
    }


class _Components:
    """The schemas of all types that endpoints name.

    Attributes:
        schemas: By `PROTOCOL.NAME`.
    """

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self.schemas: dict[str, JSONObject] = {}
        self._uses: dict[tuple[str, int], JSONObject] = {}
        for protocol in PROTOCOLS:
            types = {id(type_): type_ for row in endpoints if row.protocol == protocol for type_ in _types_of(row)}
            types |= {id(type_): type_ for type_ in READ_BY_TYPE.get(protocol, ())}
            self._add(protocol, list(types.values()))
        for dialect, type_ in ERRORS.items():
            self._add(dialect.value, [type_])

    def schema(self, protocol: str, types: Sequence[Any]) -> JSONObject:
        """Return the schema of what is of any of some types."""
        uses = [_BYTES if type_ is bytes else self._uses[protocol, id(type_)] for type_ in types]
        return uses[0] if len(uses) == 1 else {"anyOf": uses}

    def _add(self, protocol: str, types: list[Any]) -> None:
        uses, parts = msgspec.json.schema_components(types, ref_template=_REF.format(protocol=protocol))
        self._uses |= {(protocol, id(type_)): _portable(use) for type_, use in zip(types, uses, strict=True)}
        self.schemas |= {f"{protocol}.{name}": _portable(part) for name, part in parts.items()}


def _types_of(endpoint: Endpoint) -> list[Any]:
    types = [type_ for answer in endpoint.answers.values() for type_ in answer.types]
    types += [] if endpoint.stream is None else endpoint.stream.events
    types += [] if endpoint.body is None else [endpoint.body.type]
    return [type_ for type_ in types if type_ is not bytes]


def _portable(schema: Any) -> Any:
    r"""Write patterns as JSON Schema has them: the end of a text is Python's `\Z` there, and ECMAScript's `$`."""
    if isinstance(schema, dict):
        return {
            key: re.sub(_PYTHON_END, "$", value) if key == "pattern" and isinstance(value, str) else _portable(value)
            for key, value in schema.items()
        }
    return [_portable(each) for each in schema] if isinstance(schema, list) else schema


def _operation(endpoint: Endpoint, components: _Components) -> JSONObject:
    headers = [{"$ref": f"#/components/parameters/{header.name}"} for header in WISH_HEADERS]
    operation: JSONObject = {
        "operationId": _operation_id(endpoint),
        "summary": endpoint.summary,
        "tags": [endpoint.protocol],
        "parameters": [
            *(_path_parameter(name) for name in endpoint.path_parameters),
            *(_parameter(each, "query") for each in endpoint.query),
            *(headers if endpoint.has_wishes else []),
        ],
        "responses": _responses(endpoint, components),
    }
    if endpoint.body is not None:
        schema = components.schema(endpoint.protocol, [endpoint.body.type])
        operation["requestBody"] = {"required": True, "content": {endpoint.body.media: {"schema": schema}}}
    return operation


def _operation_id(endpoint: Endpoint) -> str:
    words = re.findall(r"[A-Za-z0-9]+", endpoint.url) or ["root"]
    return "_".join([endpoint.method.lower(), *words])


def _path_parameter(name: str) -> JSONObject:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _parameter(parameter: Parameter, place: str) -> JSONObject:
    return {
        "name": parameter.name,
        "in": place,
        "description": parameter.what,
        "required": parameter.is_required,
        "schema": msgspec.json.schema(parameter.type),
    }


def _responses(endpoint: Endpoint, components: _Components) -> JSONObject:
    answers = endpoint.answers or ({200: Answer()} if endpoint.stream is not None else {})
    responses = {str(status): _answer(endpoint, status, answer, components) for status, answer in answers.items()}
    if endpoint.method == "HEAD":
        return responses | {"4XX": {"description": "Refused; without a body."}, "5XX": {"description": "Not now."}}
    errors = {kind: {"$ref": f"#/components/responses/{_error_name(endpoint.dialect, kind)}"} for kind in _KINDS}
    return responses | errors


def _answer(endpoint: Endpoint, status: int, answer: Answer, components: _Components) -> JSONObject:
    content: JSONObject = {}
    if answer.types:
        content[answer.media] = {"schema": components.schema(endpoint.protocol, answer.types)}
    if endpoint.stream is not None:
        items = components.schema(endpoint.protocol, endpoint.stream.events)
        content[endpoint.stream.media] = {"schema": {"type": "string"}, "x-item-schema": items}
    description = "Done." if status == 200 else "Made."  # noqa: PLR2004 - the two that there are
    return {"description": description, **({"content": content} if content else {})}


_KINDS: Final = ("4XX", "5XX")


def _error_keys() -> list[tuple[Dialect, str]]:
    return [(dialect, kind) for dialect in ERRORS for kind in _KINDS]


def _error_name(dialect: Dialect, kind: str) -> str:
    return f"{dialect.value}.{kind}"


def _error(dialect: Dialect, kind: str, components: _Components) -> JSONObject:
    """Return the answer of a class of errors, with the statuses and codes that there are by the one table."""
    codes: dict[int, set[str]] = {}
    for error, row in ERROR_ROWS.items():
        if (row.status >= _SERVER_ERRORS) == (kind == "5XX"):
            codes.setdefault(row.status, set()).add(str(getattr(error, "code", "")))
    lines = [f"{status}: {', '.join(sorted(names))}" for status, names in sorted(codes.items())]
    schema = components.schema(dialect.value, [ERRORS[dialect]])
    return {"description": "; ".join(lines), "content": {JSON: {"schema": schema}}}
