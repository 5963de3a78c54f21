"""The report of capabilities against the samples; that these are answered as it says is tested over HTTP."""

from pathlib import Path

import msgspec
import pytest

from registry.catalogue import Model
from registry.engines import EngineKind
from registry.facts import ArtifactFormat, ModelKind
from registry.store import Registry
from router.protocols.control.capabilities import BODIES, ENGINES, capability_report, field_capabilities
from router.protocols.fields.support import Support
from router.protocols.table import ENDPOINTS
from tests.registry.catalogue_builder import make_draft, make_facts
from tests.support import capability_samples, response_samples

HONOURED = {**capability_samples.HONOURED, "responses": response_samples.HONOURED}
REFUSED = {**response_samples.REFUSED, **capability_samples.REFUSED}
ROWS = field_capabilities([EngineKind.MLX])
MODEL_DEPENDENT = capability_samples.MODEL_DEPENDENT | response_samples.MODEL_DEPENDENT


def test_a_row_is_of_all_endpoints_that_say_the_same() -> None:
    found = [(endpoint, row.name) for row in ROWS for endpoint in row.endpoints]
    assert len(found) == len(set(found))
    rows = {(row.name, *row.endpoints): row.engines[EngineKind.MLX].value for row in ROWS}
    assert rows["temperature", "chat", "completions", "responses"] == "honoured"
    assert rows["prompt", "completions"] == "honoured"
    assert rows["prompt", "responses"] == "refused"
    assert rows["store", "chat"] == "without effect"


def test_every_row_has_a_sample_and_every_sample_a_row() -> None:
    for row in ROWS:
        if row.engines[EngineKind.MLX] in (Support.HONOURED, Support.LABEL, Support.WITHOUT_EFFECT):
            assert row.allowed, row.name
            assert all(row.name in HONOURED[endpoint] for endpoint in row.endpoints), row.name
        else:
            assert row.name in REFUSED, row.name
    names = {row.name for row in ROWS}
    assert set().union(*HONOURED.values(), REFUSED, MODEL_DEPENDENT) <= names
    assert set(HONOURED) == set(BODIES)


def model_of(path: Path, kind: ModelKind = ModelKind.MODEL) -> Model:
    with Registry(path) as registry:
        for file, form in (("/m/a.gguf", ArtifactFormat.GGUF), ("/m/mlx", ArtifactFormat.MLX)):
            facts = msgspec.structs.replace(make_facts(form), kind=kind)
            registry.artifacts.add(make_draft(file, facts=facts))
        return registry.models.get("m")


def test_the_report_is_about_usable_artifacts(tmp_path: Path) -> None:
    model = model_of(tmp_path / "r.sqlite3")
    report = capability_report(ENDPOINTS, model)
    assert (report.model, report.engines, len(report.fields)) == ("m", list(ENGINES), len(ROWS))
    assert capability_report(ENDPOINTS, model, EngineKind.MLX).engines == ["mlx"]


def test_endpoints_that_need_nothing_of_a_model_are_left_out() -> None:
    paths = [row.path for row in capability_report(ENDPOINTS).endpoints]
    assert "POST /v1/chat/completions" in paths
    assert "GET /health" not in paths


@pytest.mark.parametrize(("path", "works"), [("POST /v1/embeddings", True), ("POST /v1/messages", False)])
def test_a_model_that_only_embeds_has_the_endpoints_that_embed(tmp_path: Path, path: str, *, works: bool) -> None:
    report = capability_report(ENDPOINTS, model_of(tmp_path / "r.sqlite3", ModelKind.EMBEDDING))
    assert report.fields == []
    assert {row.path: row.engines["llamacpp"] for row in report.endpoints}[path] is works
