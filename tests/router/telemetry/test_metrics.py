"""What /metrics and /v1/metrics tell, asked over HTTP of a whole front with the fake engine."""

from pathlib import Path

from msgspec.structs import replace
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from backends.fake.engine import FakeOptions
from router.config.telemetry import TelemetryConfig
from router.telemetry.reference import reference_lines
from router.telemetry.table import METRICS
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front
from tests.support.metric_values import values
from tests.support.waiting import until
from tests.support.winds import wind

DOCS = Path(__file__).parents[3] / "docs" / "telemetry.md"


def test_the_page_of_docs_has_every_metric() -> None:
    """`python -c "from router.telemetry.reference import *; print(*reference_lines(), sep='\\n')"` mends a failure."""
    assert "\n".join(reference_lines()) in DOCS.read_text()


def test_names_carry_their_units() -> None:
    units = ("_total", "_seconds", "_bytes", "_tokens", "_ratio", "_sequences", "_info", "_state", "_usage")
    bare = {"mlxr_requests_in_flight", "mlxr_queue_depth", "mlxr_kv_cells", "mlxr_kv_cells_used", "mlxr_kv_cells_made"}
    bare |= {"mlxr_workers", "mlxr_jobs_running", "mlxr_memory_pressure", "mlxr_worker_threads", "mlxr_checkpoints"}
    bare |= {"mlxr_upstream_up", "mlxr_upstream_today"}
    assert {metric.name for metric in METRICS if not metric.name.endswith(units)} == bare
    assert all(metric.name.endswith("_total") == (metric.kind == "counter") for metric in METRICS)


@with_front()
async def test_a_request_is_counted_by_protocol_model_engine_and_status(front: FakeFront) -> None:
    usage = (await front.chat()).json()["usage"]
    missing = await front.chat(model="no-such")
    bad = await front.chat(temperature=-1)
    assert (missing.status_code, bad.status_code) == (404, 400)
    found = await values(front.client)
    assert found.of("mlxr_requests_total", protocol="openai") == {
        ("openai", "m", "llamacpp", "200"): 1,
        ("openai", "unknown", "none", "404"): 1,
        ("openai", "unknown", "none", "400"): 1,
    }
    assert found.of("mlxr_request_errors_total") == {
        ("openai", "model_not_found"): 1,
        ("openai", "invalid_request"): 1,
    }
    assert found.of("mlxr_generations_total") == {("openai", "m", "llamacpp", "completed"): 1}
    assert found.one("mlxr_tokens_total", type="input") == usage["prompt_tokens"]
    assert found.one("mlxr_tokens_total", type="output") == usage["completion_tokens"]
    assert found.one("mlxr_key_tokens_total", type="output") == usage["completion_tokens"]
    assert found.one("gen_ai_server_time_to_first_token_seconds_count") == 1
    assert found.one("mlxr_loads_total") == 1
    assert found.one("mlxr_resident_memory_bytes", process="workers") > 1 << 20
    assert found.one("mlxr_memory_pressure") == 0


@with_front()
async def test_both_formats_and_the_json_tell_the_same(front: FakeFront) -> None:
    await front.chat()
    plain = await front.client.get("/metrics")
    open_metrics = await front.client.get("/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0"})
    as_json = (await front.client.get("/v1/metrics")).json()["metrics"]
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    names = {family["name"] for family in as_json}
    assert names == {metric.name for metric in METRICS}
    for families in (parse_text(plain.text), parse_openmetrics(open_metrics.text)):  # type: ignore[no-untyped-call]
        scraped = {family.name: family for family in families}
        assert set(scraped) == {name.removesuffix("_total") for name in names}
        told = {family["name"]: family for family in as_json}
        steps = scraped["mlxr_steps"].samples
        assert {sample.value for sample in steps} == {each["value"] for each in told["mlxr_steps_total"]["series"]}
        loads = [sample for sample in scraped["mlxr_load_seconds"].samples if sample.name.endswith("_sum")]
        assert loads[0].value == told["mlxr_load_seconds"]["series"][0]["sum"]


@with_front()
async def test_the_batch_tells_of_forks_and_steps(front: FakeFront) -> None:
    await front.chat(n=3)
    found = await values(front.client)
    assert found.one("mlxr_forks_total") == 2
    assert found.one("mlxr_step_sequences_total") > found.one("mlxr_steps_total") > 0
    assert found.one("mlxr_kv_cells") > found.one("mlxr_kv_cells_used") == 0


@with_front(config=make_config(reattach_s=0.0), llamacpp=FakeOptions(decode_s=0.01))
async def test_a_client_that_goes_away_is_a_499_and_a_cancelled_answer(front: FakeFront) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True, "max_tokens": 5000}
    async with front.client.stream("POST", "/v1/chat/completions", json=body) as response:
        await anext(response.aiter_bytes())
    await until(lambda: not front.running, "the request ends")
    found = await values(front.client)
    assert found.of("mlxr_requests_total", protocol="openai") == {("openai", "m", "llamacpp", "499"): 1}
    assert found.of("mlxr_generations_total") == {("openai", "m", "llamacpp", "cancelled"): 1}


@with_front()
async def test_names_of_models_that_nobody_has_make_no_series(front: FakeFront) -> None:
    for number in range(60):
        await front.client.post("/v1/embeddings", json={"model": f"no-such-{number}", "input": "x"})
        await front.client.get(f"/v1/models/no-such-{number}")
        await front.client.get(f"/no/such/path/{number}")
    found = await values(front.client)
    assert found.of("mlxr_requests_total", status="404") == {
        ("openai", "unknown", "none", "404"): 60,
        ("openai", "none", "none", "404"): 60,
        ("none", "none", "none", "404"): 60,
    }


@with_front(config=replace(make_config(), telemetry=TelemetryConfig(metrics=False)))
async def test_metrics_that_are_off_are_not_there(front: FakeFront) -> None:
    for path in ("/metrics", "/v1/metrics"):
        answer = await front.client.get(path)
        assert answer.status_code == 404
        assert "telemetry.metrics" in answer.json()["error"]["message"]


@with_front()
async def test_a_conversation_that_is_wound_is_counted(front: FakeFront) -> None:
    contexts = front.services.contexts
    contexts.keep(wind("ctx_a", 4, ms=1500.0))
    contexts.keep(wind("ctx_b", 8, narrative=None, told_by=None, is_left_out=True, narrative_tokens=0))
    found = await values(front.client)
    assert found.of("mlxr_context_winds_total") == {("m", "m", "told"): 1, ("m", "none", "left_out"): 1}
    assert found.of("mlxr_context_wind_tokens_total") == {
        ("m", "before"): 1800,
        ("m", "after"): 600,
        ("m", "narrative"): 40,
    }
    assert found.one("mlxr_context_wind_seconds_sum", by="m") == 1.5
