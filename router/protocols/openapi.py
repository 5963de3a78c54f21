"""The API's document, OpenAPI 3.1, out of the declarations of endpoints. Pure.

Types become components by msgspec, one namespace per protocol: `ollama.ChatRequest`. OpenAPI 3.1 has no word for the
pieces of a stream: their schema stands under `x-item-schema` of its media type.

Source: OpenAPI Specification 3.1.1; JSON Schema 2020-12.
"""

import functools
import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from router.http.caller import Scope
from router.http.dialect import Dialect, Dialects
from router.http.error_table import ERROR_ROWS
from router.protocols.endpoint import JSON, Answer, Api, Endpoint, Parameter
from router.protocols.fields.json_types import JSONObject
from router.protocols.header_table import ERROR_HEADERS, REQUEST_HEADERS, REQUEST_ID, SERVED_HEADERS

_REF: Final = "#/components/schemas/{protocol}.{{name}}"
_REFERENCE: Final = re.compile(r'"#/components/schemas/([^"]+)"')
_BYTES: Final = {"type": "string", "format": "binary"}
_SERVER_ERRORS: Final = 500
_PYTHON_END: Final = r"\\Z"
_CAVEAT: Final = (
    "Without API keys whoever reaches the server may use all of it; with the first one that is made, requests need one "
    "of the scope that stands at each operation. The server listens on loopback unless the config says otherwise, and "
    "refuses web pages of other origins."
)
_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


class ApiDocument:
    """The document as it is served: made when somebody asks for it the first time, and kept."""

    def __init__(self, version: str, endpoints: Sequence[Endpoint], dialects: Dialects) -> None:
        self._version = version
        self._endpoints = endpoints
        self._dialects = dialects

    @functools.cached_property
    def text(self) -> bytes:
        """JSON; making it takes a while."""
        return msgspec.json.encode(api_document(self._version, self._endpoints, self._dialects))


def api_document(version: str, endpoints: Sequence[Endpoint], dialects: Dialects) -> JSONObject:
    """Return the document of some endpoints."""
    components = _Components(endpoints, dialects)
    paths: dict[str, JSONObject] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.url, {})[endpoint.method.lower()] = _operation(endpoint, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "mlxr", "version": version, "description": _CAVEAT},
        "tags": [{"name": api.name, "description": api.what} for api in components.apis],
        "paths": paths,
        "components": {
            "schemas": components.schemas,
            "responses": {
                _error_name(dialect, kind): _error([dialect], kind, components)
                for dialect in components.dialects
                for kind in _KINDS
            },
            "parameters": {header.name: _parameter(header, "header") for header in REQUEST_HEADERS},
            "headers": {each.name: _header(each) for each in (REQUEST_ID, *SERVED_HEADERS, *ERROR_HEADERS)},
            "securitySchemes": _SCHEMES,
        },
    }


class _Components:
    """The schemas of all types that endpoints name.

    Attributes:
        schemas: By `PROTOCOL.NAME`.
    """

    def __init__(self, endpoints: Sequence[Endpoint], dialects: Dialects) -> None:
        self.apis: list[Api] = list({row.api.name: row.api for row in endpoints}.values())
        self.dialects = list({each.name: each for row in endpoints for each in dialects.all_of(row.url)}.values())
        self.schemas: dict[str, JSONObject] = {}
        self.dialects_of = dialects.all_of
        self._uses: dict[tuple[str, int], JSONObject] = {}
        for api in self.apis:
            types = {id(type_): type_ for row in endpoints if row.api is api for type_ in _types_of(row)}
            types |= {id(type_): type_ for type_ in api.read_by_type}
            self._add(api.name, list(types.values()))
        for dialect in self.dialects:
            self._add(dialect.name, [dialect.shape])
        self._open_requests(endpoints)

    def schema(self, protocol: str, types: Sequence[Any]) -> JSONObject:
        """Return the schema of what is of any of some types."""
        uses = [_BYTES if type_ is bytes else self._uses[protocol, id(type_)] for type_ in types]
        return uses[0] if len(uses) == 1 else {"anyOf": uses}

    def _open_requests(self, endpoints: Sequence[Endpoint]) -> None:
        """Let objects of requests have further fields, which are left out, but those that answers have as well."""
        sent, told = set[str](), set[str]()
        for row in endpoints:
            answered = [type_ for answer in row.answers.values() for type_ in answer.types] + [*row.stream_types]
            for type_, found in [*((each, told) for each in answered), *([(row.body.type, sent)] if row.body else [])]:
                if type_ is not bytes:
                    self._reach(self._uses[row.api.name, id(type_)], found)
        for api in self.apis:
            for type_ in api.read_by_type:
                self._reach(self._uses[api.name, id(type_)], sent)
        for name in sent - told:
            if self.schemas[name].get("additionalProperties") is False:
                del self.schemas[name]["additionalProperties"]

    def _reach(self, schema: Any, found: set[str]) -> None:
        """Collect the names of all components that a schema leads to."""
        for name in _REFERENCE.findall(msgspec.json.encode(schema).decode()):
            if name not in found:
                found.add(name)
                self._reach(self.schemas[name], found)

    def _add(self, protocol: str, types: list[Any]) -> None:
        uses, parts = msgspec.json.schema_components(types, ref_template=_REF.format(protocol=protocol))
        self._uses |= {(protocol, id(type_)): _portable(use) for type_, use in zip(types, uses, strict=True)}
        self.schemas |= {f"{protocol}.{name}": _portable(part) for name, part in parts.items()}


def _types_of(endpoint: Endpoint) -> list[Any]:
    types = [type_ for answer in endpoint.answers.values() for type_ in answer.types]
    types += endpoint.stream_types
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
    headers = [{"$ref": f"#/components/parameters/{header.name}"} for header in REQUEST_HEADERS]
    operation: JSONObject = {
        "operationId": _operation_id(endpoint),
        "summary": endpoint.summary,
        "tags": [endpoint.api.name],
        "parameters": [
            *(_path_parameter(name) for name in endpoint.path_parameters),
            *(_parameter(each, "query") for each in endpoint.query),
            *(_parameter(each, "header") for each in endpoint.headers),
            *(headers if endpoint.has_request_headers else []),
        ],
        "responses": _responses(endpoint, components),
        "security": _security(endpoint.scope),
    }
    if endpoint.body is not None:
        schema = components.schema(endpoint.api.name, [endpoint.body.type])
        operation["requestBody"] = {"required": True, "content": {endpoint.body.media: {"schema": schema}}}
    return operation


def _security(needed: Scope) -> list[JSONObject]:
    """Return what is to be sent; {} = nothing, where no key was made. Source: OpenAPI 3.1.1, 4.8.30: roles of a key."""
    return [] if needed is Scope.PUBLIC else [{}, *({name: [str(needed)]} for name in _SCHEMES)]


def _operation_id(endpoint: Endpoint) -> str:
    words = re.findall(r"[A-Za-z0-9]+", endpoint.url) or ["root"]
    return "_".join([endpoint.method.lower(), *words])


def _path_parameter(name: str) -> JSONObject:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _parameter(parameter: Parameter, place: str) -> JSONObject:
    return {"name": parameter.name, "in": place, "required": parameter.is_required} | _header(parameter)


def _header(header: Parameter) -> JSONObject:
    """Return a header object: a parameter without its name and place. Source: OpenAPI 3.1.1, 4.8.21."""
    (use,), parts = msgspec.json.schema_components([header.type], ref_template="{name}")
    return {"description": header.what, "schema": parts.get(use.get("$ref", ""), use)}


def _answer_headers(*headers: Parameter) -> JSONObject:
    return {each.name: {"$ref": f"#/components/headers/{each.name}"} for each in (REQUEST_ID, *headers)}


def _responses(endpoint: Endpoint, components: _Components) -> JSONObject:
    answers = endpoint.answers or ({200: Answer()} if endpoint.stream is not None else {})
    responses = {str(status): _answer(endpoint, status, answer, components) for status, answer in answers.items()}
    if endpoint.method == "HEAD":
        return responses | {"4XX": {"description": "Refused; without a body."}, "5XX": {"description": "Not now."}}
    errors = {kind: _error_of(endpoint, kind, components) for kind in _KINDS}
    return responses | errors


def _answer(endpoint: Endpoint, status: int, answer: Answer, components: _Components) -> JSONObject:
    content: JSONObject = {}
    if answer.types:
        content[answer.media] = {"schema": components.schema(endpoint.api.name, answer.types)}
    if endpoint.stream is not None:
        items = components.schema(endpoint.api.name, endpoint.stream_types)
        content[endpoint.stream.media.decode()] = {"schema": {"type": "string"}, "x-item-schema": items}
    description = "Done." if status == 200 else "Made."  # noqa: PLR2004 - the two that there are
    headers = _answer_headers(*(SERVED_HEADERS if endpoint.has_request_headers else ()))
    headers |= {each.name: _header(each) for each in endpoint.answer_headers}
    return {"description": description, "headers": headers, **({"content": content} if content else {})}


_KINDS: Final = ("4XX", "5XX")


def _error_of(endpoint: Endpoint, kind: str, components: _Components) -> JSONObject:
    dialects = components.dialects_of(endpoint.url)
    if len(dialects) > 1:
        return _error(dialects, kind, components)
    return {"$ref": f"#/components/responses/{_error_name(dialects[0], kind)}"}


def _error_name(dialect: Dialect, kind: str) -> str:
    return f"{dialect.name}.{kind}"


def _error(dialects: Sequence[Dialect], kind: str, components: _Components) -> JSONObject:
    """Return the answer of a class of errors, with the statuses and codes that there are by the one table."""
    codes: dict[int, set[str]] = {}
    for error, row in ERROR_ROWS.items():
        if (row.status >= _SERVER_ERRORS) == (kind == "5XX"):
            codes.setdefault(dialects[0].status(row), set()).add(str(getattr(error, "code", "")))
    lines = [f"{status}: {', '.join(sorted(names))}" for status, names in sorted(codes.items())]
    schemas = [components.schema(dialect.name, [dialect.shape]) for dialect in dialects]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {
        "description": "; ".join(lines),
        "headers": _answer_headers(*ERROR_HEADERS),
        "content": {JSON: {"schema": schema}},
    }
