"""Over 2,000 generated requests, valid and not, over the whole of the API's own document, to a real gateway.

The document is the one that the gateway serves; the cases are schemathesis', always the same. Nothing may answer with
500, nothing may take longer than 5 s, and every answer must be one that the document allows. The engine is the fake
one: what it computes is not the point here. The hub and the library are the tests' own; nothing leaves loopback.
"""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from router.protocols.endpoint import Endpoint
from router.protocols.table import ENDPOINTS
from tests.support.api_answers import check_answer
from tests.support.gateway_process import GatewayProcess
from tests.support.stub_hub import StubHub
from tests.support.stub_ollama_registry import StubOllamaRegistry, digest_of, published
from tests.support.waiting import WITHIN_S

NUM_CASES = 2_000
HUB_REPO = "tester/Tiny-GGUF"
MODEL, VICTIM = "tiny", "victim"

_CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
_IS_SEARCH = settings.get_current_profile_name() == "search"
_ONLY_PATH, _WITH_QUERY, _WITH_BODY = (10, 12, 62) if _IS_SEARCH else (6, 8, 32)
"""Cases of an endpoint: enough for 2,000 in all, which are always the same; twice as many, and others, in a search."""
_MEANT_5XX = {501: {"/api/push"}, 503: {"/slots"}}
"""Those of the 5XX that are the right answer, and where; a 504 is one where the request set its own deadline."""

_REMOVES = {"DELETE /v1/models/{model_id}", "DELETE /api/delete"}
_OF_ENDPOINT: dict[str, dict[str, Any]] = {
    "/api/pull": {"model": "tiny:135m", "name": "tiny:135m"},
    "/api/create": {"model": "made", "name": "made", "from": MODEL, "template": "{{ messages[0].content }}"},
    "/api/copy": {"source": MODEL, "destination": "copied"},
    "/v1/mlxr/models/pull": {"reference": HUB_REPO, "engine": None, "name": None},
    "/v1/responses": {"previous_response_id": None},
}
"""Things that there are, where they are called otherwise."""
_SAID: dict[str, Any] = {
    "messages": [{"role": "user", "content": "hi"}],
    "input": "hi",
    "prompt": "hi",
    "tokens": [97, 98],
    "endpoint": "/v1/chat/completions",
    "completion_window": "24h",
}
"""Plain values for what requests are about."""

_ESSENTIAL = {"model", "input", "prompt", "messages"}
"""Fields without which there is nothing to do, whether they are required or not."""

_ENDLESS = {"/v1/mlxr/events"}
"""Streams that nothing ends but their reader: of these the first event is read."""

_WORKS = {"/v1/mlxr/models/convert", "/v1/mlxr/bench"}
"""Where a known model would begin minutes of real work: only names of no model go there."""


class Shape(NamedTuple):
    """Names of the fields that a body must have, of all that it may, and of those that are there to be refused."""

    required: set[str]
    properties: set[str]
    refused: set[str]


class Case(NamedTuple):
    """What was sent, as far as a report needs it."""

    label: str
    status: int | None
    seconds: float
    problem: str | None
    curl: str


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, tiny_gguf: Path, tiny_mlx: Path) -> Iterator[GatewayProcess]:
    home = tmp_path_factory.mktemp("schemathesis") / "home"
    paths = Paths.under(home)
    paths.ensure_folders()
    with Registry(paths.registry_db) as registry:
        register_path(registry, tiny_gguf, name=MODEL)
        register_path(registry, tiny_mlx, name=MODEL)
    weights = tiny_gguf.read_bytes()
    hub = StubHub({HUB_REPO: {"tiny-F32.gguf": weights}})
    library = StubOllamaRegistry({"library/tiny:135m": published(weights)})
    with hub, library:
        config = {
            "standby": True,
            "hub": {"endpoint": hub.url, "ollama_registry": library.url},
            "server": {"keepalive_s": 1},
            "limits": {"swap_max_wait_s": 0.5},
        }
        gateway = GatewayProcess(home, config=config, fake_options={"answer_tokens": 4, "context_length": 512})
        try:
            yield gateway
        finally:
            assert gateway.stop() == 0


class Sender:
    """Sends cases and judges the answers."""

    def __init__(self, gateway: GatewayProcess, shapes: dict[tuple[str, str], Shape]) -> None:
        self._url = gateway.url
        self._shapes = shapes
        self._session = requests.Session()
        self._session.trust_env = False
        self._random = random.Random(7)
        self.cases: list[Case] = []
        self.known = {"model": MODEL, "model_id": MODEL} | self._make_known()

    def _make_known(self) -> dict[str, str]:
        """Make one of each thing that endpoints want the id of."""
        response = self._post("/v1/responses", json={"model": MODEL, "input": "hi", "max_output_tokens": 2}).json()
        upload = {"files": {"file": ("f.jsonl", b"{}")}, "data": {"purpose": "batch"}}
        file = self._post("/v1/files", **upload).json()
        wanted = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
        batch = self._post("/v1/batches", json={"input_file_id": file["id"], **wanted}).json()
        ids = {"response_id": response["id"], "file_id": file["id"], "batch_id": batch["id"]}
        return {**ids, "input_file_id": file["id"], "previous_response_id": response["id"], "pull_id": "1"}

    def _post(self, path: str, **kwargs: Any) -> requests.Response:
        return self._session.post(self._url + path, timeout=WITHIN_S, **kwargs)

    def send(self, endpoint: Endpoint, case: Any, *, is_valid: bool) -> None:
        """Send one case and note what was wrong with the answer."""
        self._use_what_is_there(endpoint, case, is_valid=is_valid)
        kwargs = case.as_transport_kwargs(base_url=self._url)
        if isinstance(kwargs.get("data"), bytes) and "digest" in case.path_parameters and self._is(0.8):
            case.path_parameters["digest"] = digest_of(kwargs["data"])
            kwargs = case.as_transport_kwargs(base_url=self._url)
        began_at = time.monotonic()
        status: int | None = None
        try:
            with self._session.request(**kwargs, timeout=WITHIN_S, stream=True, allow_redirects=False) as response:
                status = response.status_code
                if endpoint.url in _ENDLESS and status == 200:
                    response._content = _first_event(response)
                _ = response.content
            problem = self._problem(endpoint, case, response)
        except requests.RequestException as exc:
            problem = f"{type(exc).__name__}: {exc}"
        seconds = time.monotonic() - began_at
        if problem is None and seconds > WITHIN_S:
            problem = f"it took {seconds:.1f} s"
        curl = "" if problem is None else case.as_curl_command()
        self.cases.append(Case(f"{endpoint.method} {endpoint.url}", status, seconds, problem, curl))

    def _use_what_is_there(self, endpoint: Endpoint, case: Any, *, is_valid: bool) -> None:
        """Put things that there are in the place of most of what is made up, so that more than names is tried."""
        is_removal = f"{endpoint.method} {endpoint.url}" in _REMOVES
        known = self.known | _OF_ENDPOINT.get(endpoint.url, {})
        if is_removal:
            self._post("/api/copy", json={"source": MODEL, "destination": VICTIM})
            known |= {"model": VICTIM, "model_id": VICTIM, "name": VICTIM}
        if endpoint.url in _WORKS:
            known.pop("model")
        if isinstance(case.body, dict) and is_valid:
            case.body = _with_whole_numbers(case.body)
            shape = self._shapes[endpoint.method, endpoint.url]
            essential = _ESSENTIAL | _OF_ENDPOINT.get(endpoint.url, {}).keys()
            self._thin(case.body, shape, (essential & shape.properties) - shape.refused)
            known = {**_SAID, **known}
            known = {name: value for name, value in known.items() if name not in shape.refused}
        for name in [name for name in case.headers or () if name.startswith("X-") and is_valid and not self._is(0.1)]:
            del case.headers[name]
        for part in (case.path_parameters, case.query, case.body):
            for name in sorted(part.keys() & known.keys()) if isinstance(part, dict) else ():
                if (is_valid or isinstance(part[name], str)) and self._is(0.8):
                    part[name] = known[name]

    def _thin(self, body: dict[str, Any], shape: Shape, essential: set[str]) -> None:
        """Leave most of what is optional out: a field that is refused hides all others.

        Of the wishes that load the model anew still more go: each takes as long as the start of a process.
        """
        for name in sorted(body.keys() - shape.required):
            if not self._is(0.02 if name in shape.refused else 0.3):
                del body[name]
        body |= dict.fromkeys(essential - body.keys())
        options: Any = body.get("options")
        for name in list(options) if isinstance(options, dict) else ():
            if not self._is(0.05 if name in {"num_ctx", "num_thread"} else 0.3):
                del options[name]

    def _is(self, share: float) -> bool:
        return self._random.random() < share

    def _problem(self, endpoint: Endpoint, case: Any, response: requests.Response) -> str | None:
        status = response.status_code
        if status >= 500 and not _is_meant(endpoint, status, response.request.headers):
            return f"{status}: {response.text[:300]}"
        try:
            check_answer(endpoint, status, response.headers, response.content)
        except AssertionError as exc:
            return f"{status}: {exc}"
        is_stream = endpoint.stream is not None and response.headers["content-type"].startswith(
            endpoint.stream.media.decode()
        )
        if is_stream or endpoint.method == "HEAD":
            return None
        try:
            case.validate_response(response, checks=_CHECKS)
        except BaseExceptionGroup as exc:
            return f"{status}: {exc.exceptions!r}"[:600]
        return None


def _is_meant(endpoint: Endpoint, status: int, headers: Any) -> bool:
    if status == 504 and "X-Mlxr-Timeout" in headers:
        return True
    return endpoint.url in _MEANT_5XX.get(status, ())


@pytest.mark.long
def test_2000_generated_requests_get_answers_of_the_document(gateway: GatewayProcess) -> None:
    document = gateway.get("/schema")
    schema = schemathesis.openapi.from_dict(document)
    operations = {f"{row.method} {row.url}": schema[row.url][row.method] for row in ENDPOINTS}
    rows = {f"{row.method} {row.url}": row for row in ENDPOINTS}
    sender = Sender(gateway, {(row.method, row.url): _shape(row, document) for row in ENDPOINTS})
    for label in sorted(rows, key=lambda label: (_is_end(rows[label]), rows[label].body is None)):
        _run(sender, rows[label], operations[label])
    assert len(sender.cases) >= NUM_CASES
    _judge(sender)


def _shape(row: Endpoint, document: dict[str, Any]) -> Shape:
    if row.body is None or row.body.type is bytes:
        return Shape(set(), set(), set())
    (content,) = document["paths"][row.url][row.method.lower()]["requestBody"]["content"].values()
    schema = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    properties = schema["properties"]
    refused = {name for name, each in properties.items() if "Refused" in str(each)}
    return Shape(set(schema.get("required", [])), set(properties), refused)


def _with_whole_numbers(value: Any) -> Any:
    """Write whole numbers as such: `1.0` is an integer to JSON Schema, and to few others."""
    if isinstance(value, dict):
        return {key: _with_whole_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_whole_numbers(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _first_event(response: requests.Response) -> bytes:
    found = b""
    for piece in response.iter_content(None):
        found += piece
        if b"\n\n" in found:
            break
    return found[: found.index(b"\n\n") + 2]


def _is_end(row: Endpoint) -> bool:
    """Tell what comes last, because others need what it ends."""
    return row.method == "DELETE" or "cancel" in row.path


def _run(sender: Sender, row: Endpoint, operation: Any) -> None:
    has_choice = bool(row.query) or (row.body is not None and row.body.type is not bytes)
    num_cases = _ONLY_PATH if row.body is None and not row.query else _WITH_QUERY if row.body is None else _WITH_BODY
    modes = [GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if has_choice else [])]
    for mode in modes:
        _send_cases(sender, row, operation, mode, -(-num_cases // len(modes)))


def _send_cases(sender: Sender, row: Endpoint, operation: Any, mode: GenerationMode, num_cases: int) -> None:
    @settings(
        max_examples=num_cases,
        derandomize=not _IS_SEARCH,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        sender.send(row, case, is_valid=mode is GenerationMode.POSITIVE)

    send()


def _judge(sender: Sender) -> None:
    wrong = [case for case in sender.cases if case.problem is not None]
    report = "\n\n".join(f"{case.label} -> {case.problem}\n  {case.curl[:1000]}" for case in wrong[:40])
    assert not wrong, f"{len(wrong)} of {len(sender.cases)} cases:\n{report}"
    served = {case.label for case in sender.cases if case.status is not None and case.status < 400}
    assert len(served) > 30, f"only {len(served)} endpoints had a case that was served"
