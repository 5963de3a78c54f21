"""The table against the schemas and the samples; that the samples are answered as it says is tested over HTTP."""

import re
from typing import Any

import msgspec
import pytest

from registry.engines import EngineKind
from registry.facts import ArtifactFormat
from registry.store import Registry
from router.protocols.fields.capabilities import (
    CAPABILITIES,
    CHAT,
    COMPLETIONS,
    ENDPOINTS,
    ENGINES,
    RESPONSES,
    Support,
    capability,
    report,
)
from router.protocols.openai.schemas import ChatMessage, ChatRequest, CompletionRequest, StreamOptions, TextPart
from router.protocols.responses.schemas import ReasoningConfig, ResponseRequest, ResponseStreamOptions, TextConfig
from tests.registry.catalogue_builder import make_draft, make_facts
from tests.support import capability_samples, response_samples

HONOURED = {**capability_samples.HONOURED, RESPONSES: response_samples.HONOURED}
REFUSED = {**response_samples.REFUSED, **capability_samples.REFUSED}
MODEL_DEPENDENT = capability_samples.MODEL_DEPENDENT | response_samples.MODEL_DEPENDENT
SCHEMAS: dict[str, type[msgspec.Struct]] = {
    CHAT: ChatRequest,
    COMPLETIONS: CompletionRequest,
    RESPONSES: ResponseRequest,
}
_OF_CHATS: dict[str, type[msgspec.Struct]] = {
    "stream_options.": StreamOptions,
    "messages[].": ChatMessage,
    "messages[].content[].": TextPart,
}
INNER: dict[str, dict[str, type[msgspec.Struct]]] = {
    CHAT: _OF_CHATS,
    COMPLETIONS: _OF_CHATS,
    RESPONSES: {"stream_options.": ResponseStreamOptions, "text.": TextConfig, "reasoning.": ReasoningConfig},
}
STRUCTURE = {"stream_options", "messages[].content[].type", "messages[].content[].text", "text", "reasoning"}
"""Parts that have no row of their own because what is in them has."""


@pytest.mark.parametrize("endpoint", SCHEMAS)
def test_every_field_of_the_schemas_has_a_row_and_no_row_is_about_nothing(endpoint: str) -> None:
    declared = set(SCHEMAS[endpoint].__struct_fields__)
    for prefix, struct in INNER[endpoint].items():
        if prefix.partition(".")[0].removesuffix("[]") in declared:
            declared |= {prefix + name for name in struct.__struct_fields__}
    named = {row.name for row in CAPABILITIES if endpoint in row.endpoints}
    assert declared - STRUCTURE == named


def test_rows_are_unique_and_found_by_name() -> None:
    names = [(endpoint, row.name) for row in CAPABILITIES for endpoint in row.endpoints]
    assert len(names) == len(set(names))
    assert capability(CHAT, "prompt") is None
    row = capability(COMPLETIONS, "prompt")
    assert row is not None
    assert row.support is Support.HONOURED


def _bounds(schema: type[msgspec.Struct]) -> list[tuple[str, float]]:
    """Return every bound of a number in a schema, with the field's name."""
    found = []
    info: Any = msgspec.inspect.type_info(schema)
    for field in info.fields:
        types = field.type.types if isinstance(field.type, msgspec.inspect.UnionType) else (field.type,)
        for each in types:
            if isinstance(each, msgspec.inspect.IntType | msgspec.inspect.FloatType):
                bounds = (each.ge, each.gt, each.le, each.lt)
                found += [(field.name, bound) for bound in bounds if bound is not None]
    return found


@pytest.mark.parametrize("endpoint", SCHEMAS)
def test_the_ranges_that_errors_name_are_the_ranges_that_the_decoder_checks(endpoint: str) -> None:
    bounds = _bounds(SCHEMAS[endpoint])
    assert len(bounds) > 15
    for name, bound in bounds:
        row = capability(endpoint, name)
        assert row is not None
        numbers = {float(text) for text in re.findall(r"-?[0-9]+(?:\.[0-9]+)?", row.allowed)}
        assert float(bound) in numbers, (name, bound, row.allowed)


def test_every_honoured_row_says_what_is_allowed_and_every_row_has_a_sample() -> None:
    for row in CAPABILITIES:
        if row.support in (Support.HONOURED, Support.LABEL):
            assert row.allowed, row.name
            assert all(row.name in HONOURED[endpoint] for endpoint in row.endpoints), row.name
        else:
            assert row.name in REFUSED, row.name
    names = {row.name for row in CAPABILITIES}
    assert set().union(*HONOURED.values(), REFUSED, MODEL_DEPENDENT) <= names


def test_zero_is_neutral_in_either_number_type_but_a_boolean_is_no_number() -> None:
    row = capability(COMPLETIONS, "best_of")
    assert row is not None
    assert row.is_neutral(1.0)
    assert row.is_neutral(None)
    assert not row.is_neutral(True)
    assert not row.is_neutral(2)


def test_the_report_is_about_usable_artifacts(tmp_path: Any) -> None:
    with Registry(tmp_path / "r.sqlite3") as registry:
        registry.artifacts.add(make_draft("/m/a.gguf"))
        registry.artifacts.add(make_draft("/m/mlx", facts=make_facts(ArtifactFormat.MLX)))
        model = registry.models.get("m")
    assert report(model)["engines"] == list(ENGINES)
    assert report(model, EngineKind.MLX)["engines"] == [EngineKind.MLX]
    assert report(model)["model"] == "m"
    assert len(report(model)["fields"]) == len(CAPABILITIES)
    assert len(report()["endpoints"]) == len(ENDPOINTS)
    assert msgspec.json.decode(msgspec.json.encode(report())) == report()
