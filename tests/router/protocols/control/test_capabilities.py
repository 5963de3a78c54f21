"""The report of capabilities against the samples; that these are answered as it says is tested over HTTP."""

from typing import Any

import msgspec

from registry.engines import EngineKind
from registry.facts import ArtifactFormat
from registry.store import Registry
from router.protocols.control.capabilities import BODIES, field_rows, report
from router.protocols.fields.capabilities import ENDPOINTS, ENGINES
from router.protocols.fields.support import Support
from tests.registry.catalogue_builder import make_draft, make_facts
from tests.support import capability_samples, response_samples

HONOURED = {**capability_samples.HONOURED, "responses": response_samples.HONOURED}
REFUSED = {**response_samples.REFUSED, **capability_samples.REFUSED}
MODEL_DEPENDENT = capability_samples.MODEL_DEPENDENT | response_samples.MODEL_DEPENDENT


def test_a_row_is_of_all_endpoints_that_say_the_same() -> None:
    found = [(endpoint, row.name) for row in field_rows() for endpoint in row.endpoints]
    assert len(found) == len(set(found))
    rows = {(row.name, *row.endpoints): row.support_on(EngineKind.MLX).value for row in field_rows()}
    assert rows["temperature", "chat", "completions", "responses"] == "honoured"
    assert rows["prompt", "completions"] == "honoured"
    assert rows["prompt", "responses"] == "refused"
    assert rows["store", "chat"] == "neutral only"


def test_every_row_has_a_sample_and_every_sample_a_row() -> None:
    for row in field_rows():
        if row.field.support in (Support.HONOURED, Support.LABEL):
            assert row.allowed, row.name
            assert all(row.name in HONOURED[endpoint] for endpoint in row.endpoints), row.name
        else:
            assert row.name in REFUSED, row.name
    names = {row.name for row in field_rows()}
    assert set().union(*HONOURED.values(), REFUSED, MODEL_DEPENDENT) <= names
    assert set(HONOURED) == set(BODIES)


def test_the_report_is_about_usable_artifacts(tmp_path: Any) -> None:
    with Registry(tmp_path / "r.sqlite3") as registry:
        registry.artifacts.add(make_draft("/m/a.gguf"))
        registry.artifacts.add(make_draft("/m/mlx", facts=make_facts(ArtifactFormat.MLX)))
        model = registry.models.get("m")
    assert report(model)["engines"] == list(ENGINES)
    assert report(model, EngineKind.MLX)["engines"] == ["mlx"]
    assert report(model)["model"] == "m"
    assert len(report(model)["fields"]) == len(field_rows())
    assert len(report()["endpoints"]) == len(ENDPOINTS)
    assert msgspec.json.decode(msgspec.json.encode(report())) == report()
