"""Batches over HTTP on the fake engine."""

import time
from typing import Any

import msgspec
import pytest

from backends.fake.engine import FakeOptions
from backends.wire.request import Priority
from router.config import BatchesConfig
from router.jobs.batches import runner
from tests.support.batch_client import CHAT, begun, content, ended, first_end, line, results, uploaded
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front
from tests.support.waiting import until

SHORT = FakeOptions(answer_tokens=6)


@with_front(llamacpp=SHORT)
async def test_lines_are_answered_as_requests_are(front: FakeFront) -> None:
    alone = (await front.chat(messages=[{"role": "user", "content": "hi"}], max_tokens=None)).json()
    batch = await ended(front, await begun(front, line("a"), line("b", text="ho"), metadata={"k": "v"}))
    assert (batch["status"], batch["errors"], batch["error_file_id"]) == ("completed", None, None)
    assert batch["request_counts"] == {"total": 2, "completed": 2, "failed": 0}
    assert batch["metadata"] == {"k": "v"}
    found = await results(front, batch["output_file_id"])
    assert list(found) == ["a", "b"]
    assert content(found["a"]) == alone["choices"][0]["message"]["content"]
    assert found["a"]["response"]["status_code"] == 200
    assert found["a"]["error"] is None
    usages = [each["response"]["body"]["usage"]["total_tokens"] for each in found.values()]
    assert batch["usage"]["total_tokens"] == sum(usages)
    assert batch["work_seconds"] > 0


@with_front(llamacpp=SHORT)
async def test_lines_run_as_background_work_and_only_so_many_at_a_time(front: FakeFront) -> None:
    config = msgspec.structs.replace(front.services.serving.config, batches=BatchesConfig(parallel=2))
    front.fleet.set_config(config)
    front.fleet.hold("decode")
    batch_id = await begun(front, *(line(str(number)) for number in range(6)))
    await until(lambda: len(front.running) == 2, "as many run as may")
    front.fleet.let_go("decode")
    most = 0
    while (await front.client.get(f"/v1/batches/{batch_id}")).json()["status"] != "completed":
        most = max(most, len(front.running))
        assert all(each.generation.request.spec.priority is Priority.BACKGROUND for each in front.running)
        assert all(each.facts.client == batch_id for each in front.running)
    assert most <= 2


@with_front(llamacpp=SHORT)
async def test_the_output_of_a_line_comes_into_those_that_depend_on_it(front: FakeFront) -> None:
    first = (await front.chat(max_tokens=None)).json()["choices"][0]["message"]["content"]
    second = (await front.chat(messages=[{"role": "user", "content": f"say {first}"}], max_tokens=None)).json()
    batch = await ended(front, await begun(front, line("b", "a", text="say {{a.output}}"), line("a")))
    found = await results(front, batch["output_file_id"])
    assert content(found["b"]) == second["choices"][0]["message"]["content"]
    assert found["b"]["response"]["body"]["usage"]["prompt_tokens"] == second["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    ("url", "body", "kind"),
    [
        ("/v1/completions", {"prompt": "hi", "max_tokens": 4}, "text_completion"),
        ("/v1/responses", {"input": "hi", "max_output_tokens": 4}, "response"),
    ],
)
@with_front(llamacpp=SHORT)
async def test_other_endpoints_and_their_outputs(front: FakeFront, *, url: str, body: Any, kind: str) -> None:
    field = "prompt" if "prompt" in body else "input"
    lines = [line("a", url=url, **body), line("b", "a", url=url, **body | {field: "say {{a.output}}!"})]
    batch = await ended(front, await begun(front, *lines, endpoint=url))
    found = await results(front, batch["output_file_id"])
    assert {each["response"]["body"]["object"] for each in found.values()} == {kind}
    usage = found["b"]["response"]["body"]["usage"]
    alone = await front.client.post(url, json={"model": "m", "temperature": 0} | body | {field: "say abcd!"})
    assert (usage.get("prompt_tokens") or usage["input_tokens"]) == (
        alone.json()["usage"].get("prompt_tokens") or alone.json()["usage"]["input_tokens"]
    )


@with_front(llamacpp=SHORT)
async def test_what_is_wrong_with_a_line_is_its_own_result(front: FakeFront) -> None:
    lines = [
        line("ok"),
        line("stream", stream=True),
        line("nobody", model="nobody"),
        line("bad", temperature=99),
        line("after-bad", "bad", text="{{bad.output}}"),
        line("last", "after-bad"),
    ]
    batch = await ended(front, await begun(front, *lines))
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 6, "completed": 1, "failed": 5}
    assert list(await results(front, batch["output_file_id"])) == ["ok"]
    errors = await results(front, batch["error_file_id"])
    assert errors["nobody"]["response"]["status_code"] == 404
    assert errors["stream"]["response"]["body"]["error"]["param"] == "stream"
    assert errors["bad"]["response"]["body"]["error"]["param"] == "temperature"
    for name in ("after-bad", "last"):
        assert errors[name]["response"] is None
        assert errors[name]["error"]["code"] == "dependency_failed"


@with_front(llamacpp=SHORT)
async def test_fail_fast_starts_nothing_after_a_failure(front: FakeFront) -> None:
    front.fleet.set_config(msgspec.structs.replace(front.services.serving.config, batches=BatchesConfig(parallel=1)))
    lines = [line("ok"), line("bad", temperature=99), *(line(str(number)) for number in range(5))]
    batch = await ended(front, await begun(front, *lines, failure_policy="fail_fast"))
    assert batch["status"] == "failed"
    (problem,) = batch["errors"]["data"]
    assert (problem["code"], problem["line"]) == ("line_failed", 2)
    assert list(await results(front, batch["output_file_id"])) == ["ok"]
    errors = await results(front, batch["error_file_id"])
    assert [each["error"]["code"] for each in list(errors.values())[1:]] == ["batch_failed"] * 5


@with_front(llamacpp=SHORT)
async def test_a_token_budget_ends_what_has_not_begun(front: FakeFront) -> None:
    front.fleet.set_config(msgspec.structs.replace(front.services.serving.config, batches=BatchesConfig(parallel=1)))
    batch = await ended(front, await begun(front, *(line(str(number)) for number in range(6)), token_budget=60))
    assert batch["request_counts"] == {"total": 6, "completed": 3, "failed": 3}
    assert 60 <= batch["usage"]["total_tokens"] < 90
    errors = await results(front, batch["error_file_id"])
    assert {each["error"]["code"] for each in errors.values()} == {"token_budget_exceeded"}


@with_front(llamacpp=FakeOptions(decode_s=0.01))
async def test_a_cancelled_batch_ends_its_lines_and_keeps_what_was_answered(front: FakeFront) -> None:
    batch_id = await begun(front, line("short", max_tokens=1), *(line(str(n), max_tokens=4000) for n in range(12)))
    await first_end(front, batch_id)
    cancelled = (await front.client.post(f"/v1/batches/{batch_id}/cancel")).json()
    assert cancelled["status"] == "cancelling"
    batch = await ended(front, batch_id)
    assert batch["status"] == "cancelled"
    assert front.running == []
    assert batch["request_counts"] == {"total": 13, "completed": 1, "failed": 12}
    errors = await results(front, batch["error_file_id"])
    assert {each["error"]["code"] for each in errors.values()} == {"batch_cancelled"}
    assert (await front.client.post(f"/v1/batches/{batch_id}/cancel")).json() == batch


@with_front(llamacpp=FakeOptions(decode_s=0.05))
async def test_the_completion_window_is_held(front: FakeFront, monkeypatch: pytest.MonkeyPatch) -> None:
    # The window ends as soon as two of three lines have ended: the long one runs for minutes.
    shares: list[float | None] = [None]
    front.services.batches.news.add(lambda news: shares.append(news.share))
    monkeypatch.setattr(front.services.batches, "_clock", lambda: time.time() + 90_000 * ((shares[-1] or 0.0) > 0.5))
    lines = [line("one", max_tokens=1), line("two", max_tokens=2), line("long", max_tokens=7000)]
    batch_id = await begun(front, *lines)
    batch = await ended(front, batch_id)
    assert (batch["status"], batch["request_counts"]["completed"]) == ("expired", 2)
    assert (await results(front, batch["error_file_id"]))["long"]["error"]["code"] == "batch_expired"


@with_front()
async def test_a_clock_that_is_set_ends_the_window_of_a_batch_that_waits(
    front: FakeFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "LOOK_S", 0.05)
    front.fleet.hold("token-1")
    batch_id = await begun(front, line("long", max_tokens=4000))
    await until(lambda: len(front.running) == 1, "it runs")
    monkeypatch.setattr(front.services.batches, "_clock", lambda: time.time() + 90_000)
    assert (await ended(front, batch_id))["status"] == "expired"


@with_front()
async def test_the_end_of_the_window_wakes_a_batch_that_waits(front: FakeFront) -> None:
    front.fleet.hold("load")
    batch = await ended(front, await begun(front, line("a"), completion_window="1s"))
    assert batch["status"] == "expired"


@with_front(llamacpp=SHORT)
async def test_a_bad_file_fails_with_the_lines_numbers(front: FakeFront) -> None:
    batch = await ended(front, await begun(front, line("a"), "{", line("a"), line("b", "c")))
    assert (batch["status"], batch["request_counts"]["total"]) == ("failed", 0)
    assert [(each["code"], each["line"]) for each in batch["errors"]["data"]] == [
        ("invalid_json", 2),
        ("duplicate_custom_id", 3),
        ("unknown_dependency", 4),
    ]


@with_front(llamacpp=[FakeOptions(crash_at_token=3, answer_tokens=6), SHORT])
async def test_a_line_whose_worker_dies_is_tried_again(front: FakeFront) -> None:
    batch = await ended(front, await begun(front, line("a"), line("b")))
    assert batch["request_counts"] == {"total": 2, "completed": 2, "failed": 0}


@with_front(llamacpp=SHORT)
async def test_ends_are_listed_as_they_come(front: FakeFront) -> None:
    batch_id = await begun(front, line("b", "a"), line("a"))
    await ended(front, batch_id)
    ends = (await front.client.get(f"/v1/mlxr/batches/{batch_id}/ends")).json()["data"]
    assert [(end["place"], end["custom_id"], end["line"], end["is_ok"]) for end in ends] == [
        (1, "a", 2, True),
        (2, "b", 1, True),
    ]
    rest = (await front.client.get(f"/v1/mlxr/batches/{batch_id}/ends?after=1")).json()["data"]
    assert rest == ends[1:]


BAD_BATCHES: list[tuple[dict[str, Any], int, str]] = [
    ({"input_file_id": "file-nobody"}, 404, "input_file_id"),
    ({"endpoint": "/v1/models"}, 400, "endpoint"),
    ({"completion_window": "soon"}, 400, "completion_window"),
    ({"completion_window": "31d"}, 400, "completion_window"),
    ({"failure_policy": "never"}, 400, "failure_policy"),
    ({"token_budget": 0}, 400, "token_budget"),
    ({"metadata": {"a": 1}}, 400, "metadata[...]"),
]


@with_front()
async def test_bad_batches_are_refused_by_name(front: FakeFront) -> None:
    good = {"input_file_id": await uploaded(front, line("a")), "endpoint": CHAT, "completion_window": "24h"}
    for fields, status, param in BAD_BATCHES:
        answer = await front.client.post("/v1/batches", json=good | fields)
        assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text
    for path in ("/v1/batches/nobody", "/v1/batches?after=nobody", "/v1/batches?limit=0", "/v1/files?order=up"):
        assert (await front.client.get(path)).status_code in {400, 404}, path


@with_front(config=make_config(workers=2), llamacpp=SHORT)
async def test_a_line_goes_to_the_worker_that_it_names(front: FakeFront) -> None:
    await front.client.post(CHAT, json=line("load")["body"])
    await front.fleet.until(lambda: len(front.fleet.ready) == 2, "both workers are ready")
    ids = sorted(worker.worker_id for worker in front.fleet.ready)
    wanted = {f"{number}": ids[number // 3] for number in range(6)}
    lines = [line(name) | {"worker": worker_id} for name, worker_id in wanted.items()]
    lines += [line("nobody") | {"worker": 999}, line("any")]
    batch = await ended(front, await begun(front, *lines))
    assert batch["status"] == "completed"
    found = await results(front, batch["output_file_id"])
    served = {name: each["response"]["body"]["timings"]["worker"]["id"] for name, each in found.items()}
    assert served.pop("any") in ids
    assert served == wanted
    refused = (await results(front, batch["error_file_id"]))["nobody"]["response"]
    assert refused["status_code"] == 400
    assert refused["body"]["error"]["param"] == "worker"
    assert refused["body"]["error"]["message"].startswith("worker: there is no worker 999 with 'm' on llamacpp")
    assert refused["body"]["error"]["message"].endswith(f"; send {ids[0]} or {ids[1]}, or leave it out")


@with_front(llamacpp=SHORT)
async def test_a_worker_that_is_no_number_fails_the_batch_with_the_lines_number(front: FakeFront) -> None:
    for worker in (0, -1, "2", 1.5, 10**12):
        batch = await ended(front, await begun(front, line("a"), line("b") | {"worker": worker}))
        assert batch["status"] == "failed"
        [problem] = batch["errors"]["data"]
        assert (problem["line"], problem["param"]) == (2, "worker"), worker
