"""Benchmarks by the command line and by HTTP, against real gateways with the fake engine at set speeds, and real ones.

A peer (llama-server) is used where it is installed; the tests that need it are skipped elsewhere, with the reason.
"""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from router.config.instance import read_instance
from router.config.paths import Paths
from tests.support.gateway_process import GatewayProcess, environment, run_cli, sse_events
from tests.support.processes import ending
from tests.support.waiting import WITHIN_S, wait_until

QUICK = {"decode_s": 0.002, "prefill_s_per_token": 0.0001, "context_length": 32768}
FAST = (
    "--repeats",
    "3",
    "--minutes",
    "1",
    "--scenarios",
    "short-chat,parallel-2,json-schema,multi-turn",
    "--parallel",
    "2",
)


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory, make_home: Callable[[Path], Path]) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(make_home(tmp_path_factory.mktemp("bench") / "home"), fake_options=QUICK)
    yield gateway
    assert gateway.stop() == 0


def measured(gateway: GatewayProcess, *arguments: str, model: str = "tiny", exit_code: int = 0) -> dict[str, Any]:
    done = run_cli(gateway.home, "bench", model, *arguments, "--json")
    assert done.returncode == exit_code, done.stderr
    body: dict[str, Any] = json.loads(done.stdout)
    return dict(body.get("record", body))


def codes(record: dict[str, Any]) -> set[str]:
    return {notice["code"] for notice in record["notices"]}


def test_both_engines_are_measured_and_the_run_is_kept(fake: GatewayProcess) -> None:
    record = measured(fake, *FAST)
    assert [one["label"] for one in record["contestants"]] == ["mlx", "llamacpp"]
    assert record["is_complete"]
    samples = record["samples"]
    assert {sample.get("error") for sample in samples} == {None}
    for scenario, per_round in (("short-chat", 1), ("parallel-2", 2), ("json-schema", 1), ("multi-turn", 2)):
        for index in (0, 1):
            own = [each for each in samples if (each["scenario"], each["contestant"]) == (scenario, index)]
            assert len(own) >= 3 * per_round
            assert {each["round"] for each in own} >= {0, 1, 2}
    chat = next(each for each in samples if each["scenario"] == "short-chat")
    assert chat["num_output_tokens"] == 48
    assert len(chat["token_times_ms"]) > 40
    assert chat["ttft_ms"] < chat["total_ms"]
    # 48 tokens of at least 2 ms each
    assert chat["total_ms"] >= 47 * 2
    for one in record["contestants"]:
        assert one["peak_memory_bytes"] > 1 << 20
        assert one["devices"] == ["fake"]
    listed = run_cli(fake.home, "bench", "history", "tiny", "--json")
    assert record["bench_id"] in {head["bench_id"] for head in json.loads(listed.stdout)}


def test_loads_and_unloads_are_measured_beside(fake: GatewayProcess) -> None:
    record = measured(fake, "--repeats", "3", "--scenarios", "short-chat", "--no-quality")
    loads = record["loads"]
    assert [load["contestant"] for load in loads][:2] == [0, 1]
    assert [load.get("is_swap", False) for load in loads][:2] == [False, True]
    for load in loads:
        assert 0 < load["load_ms"] <= load["first_token_ms"]
        assert load["unload_ms"] > 0
        assert load["freed_bytes"] > 1 << 20
    assert fake.status()["workers"] == [] or all(worker["model"] is None for worker in fake.status()["workers"])


def test_prompts_are_found_in_no_cache(fake: GatewayProcess) -> None:
    record = measured(fake, "--repeats", "3", "--scenarios", "short-chat,long-prompt-2k", "--no-quality")
    long = [sample for sample in record["samples"] if sample["scenario"] == "long-prompt-2k"]
    assert long
    assert all(abs(sample["num_prompt_tokens"] - 2048) < 150 for sample in long)
    assert all((sample["num_cached_tokens"] or 0) < 96 for sample in long)
    assert "cached_prompts" not in codes(record)


def test_equal_models_agree_and_are_scored_alike(fake: GatewayProcess) -> None:
    record = measured(fake, "--repeats", "1", "--scenarios", "short-chat")
    first, second = (one["quality"] for one in record["contestants"])
    assert first["num_scored_tokens"] == second["num_scored_tokens"] > 0
    assert first["mean_logprob"] == pytest.approx(second["mean_logprob"])
    assert second["num_compared_tokens"] == second["num_equal_tokens"] > 0
    assert second.get("first_divergence") is None


def test_settings_are_loaded_and_shown(fake: GatewayProcess) -> None:
    record = measured(
        fake,
        "--a",
        "llamacpp",
        "--b",
        "llamacpp ctx=1024 threads=1",
        "--repeats",
        "1",
        "--scenarios",
        "short-chat,long-prompt-2k",
    )
    assert [one["context_length"] for one in record["contestants"]] == [8192, 1024]
    assert record["contestants"][1]["num_threads"] == 1
    assert "different_context" in codes(record)
    skipped = {each["name"]: each.get("skipped") for each in record["scenarios"]}
    assert skipped["short-chat"] is None
    assert "there are 1,024" in skipped["long-prompt-2k"]
    assert {sample["scenario"] for sample in record["samples"]} == {"short-chat"}


def test_a_server_by_url_may_be_mlxr_itself(
    fake: GatewayProcess, tmp_path: Path, make_home: Callable[[Path], Path]
) -> None:
    other = GatewayProcess(make_home(tmp_path / "home"), fake_options=QUICK)
    try:
        record = measured(
            fake, "--a", "llamacpp", "--b", f"{other.url}#tiny@llamacpp", "--repeats", "3", "--scenarios", "short-chat"
        )
    finally:
        other.stop()
    foreign = [sample for sample in record["samples"] if sample["contestant"] == 1]
    assert len(foreign) >= 3
    assert all(sample.get("error") is None and sample.get("prefill_ms") is None for sample in foreign)
    assert all(sample["ttft_ms"] > 0 for sample in foreign)
    assert record["contestants"][1]["url"] == other.url
    assert "foreign_server" in codes(record)


def test_a_contestant_that_is_not_there_is_in_the_record_with_its_error(fake: GatewayProcess) -> None:
    arguments = ("--a", "llamacpp", "--b", "http://127.0.0.1:9#x", "--repeats", "2", "--scenarios", "short-chat")
    record = measured(fake, *arguments, exit_code=1)
    errors = {sample["error"] for sample in record["samples"] if sample["contestant"] == 1}
    assert errors == {"no server answers at http://127.0.0.1:9"}
    assert any(sample.get("error") is None for sample in record["samples"])
    assert "no_answers" in codes(record)


def test_a_worker_that_dies_is_an_error_of_its_contestant_alone(
    tmp_path: Path, make_home: Callable[[Path], Path]
) -> None:
    gateway = GatewayProcess(make_home(tmp_path / "home"), fake_options=QUICK | {"crash_at_token": 30})
    try:
        record = measured(
            gateway, "--repeats", "1", "--scenarios", "short-chat,json-schema", "--no-quality", exit_code=1
        )
    finally:
        gateway.stop()
    errors = [sample["error"] for sample in record["samples"] if sample["scenario"] == "short-chat"]
    assert len(errors) == 2
    assert all(error for error in errors)
    assert "Traceback" not in json.dumps(record)


def test_own_prompts_are_asked(fake: GatewayProcess, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('"Why is the sea salt?"\n{"prompt": "Count to ten.", "max_tokens": 5}\n')
    record = measured(fake, "--prompts", str(file), "--max-tokens", "9", "--repeats", "2", "--no-quality")
    assert [each["name"] for each in record["scenarios"]] == ["own-prompts"]
    assert {sample["num_output_tokens"] for sample in record["samples"]} == {9, 5}
    file.write_text("{")
    done = run_cli(fake.home, "bench", "tiny", "--prompts", str(file))
    assert done.returncode == 2
    assert f"{file}, line 1" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nope",), 1, "There is no model 'nope'"),
        (("tiny", "--a", "vllm=1"), 2, "is no engine (mlx, llamacpp), model or URL"),
        (("tiny", "--a", "llamacpp ctx=1"), 2, "context_length"),
        (("tiny", "--scenarios", "none"), 2, "There is no scenario 'none'"),
        (("tiny", "--repeats", "0"), 2, "repeats"),
        (("tiny", "--json", "--csv"), 2, "Choose one of"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(
    fake: GatewayProcess, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = run_cli(fake.home, "bench", *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupted_run_keeps_what_was_measured(fake: GatewayProcess) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "router.cli",
            "bench",
            "tiny",
            "--repeats",
            "900",
            "--minutes",
            "10",
            "--json",
            "--no-quality",
        ],
        env=environment(fake.home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with ending(process):
        assert process.stderr is not None
        for line in process.stderr:
            if "first token" in line:
                break
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=WITHIN_S)
    body = json.loads(out)
    record = body.get("record", body)
    assert not record["is_complete"]
    assert record["samples"]
    kept = run_cli(fake.home, "bench", "show", record["bench_id"], "--json")
    assert kept.returncode == 0


def test_without_a_server_one_is_started_for_the_run_and_ended(home: Path) -> None:
    done = run_cli(home, "bench", "tiny", "--repeats", "1", "--scenarios", "short-chat", "--no-quality", "--json")
    assert done.returncode == 0, done.stderr
    assert "one is started for this" in done.stderr
    assert "No mlxr server is running" in run_cli(home, "ps").stdout


def test_the_server_that_a_run_started_ends_with_a_run_that_is_killed(home: Path) -> None:
    argv = [sys.executable, "-P", "-m", "router.cli", "bench", "tiny", "--repeats", "50", "--no-quality", "--json"]
    process = subprocess.Popen(argv, env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with ending(process) as bench:
        wait_until(lambda: read_instance(Paths.under(home)), "its server is there")
        instance = read_instance(Paths.under(home))
        assert instance is not None
        server = psutil.Process(instance.pid)
        started = server.children(recursive=True)
        refused = run_cli(home, "serve", "--port", "0")
        assert refused.returncode != 0
        assert f"which `mlxr bench` started for itself, runs as process {instance.pid}" in refused.stderr
        assert f"`kill {instance.pid}`" in refused.stderr
        bench.kill()
    _, alive = psutil.wait_procs([server, *started], timeout=WITHIN_S)
    assert alive == []


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(data) for data in sse_events(response.iter_lines())]


def test_a_client_can_have_it_measured_and_read_the_run(fake: GatewayProcess) -> None:
    body = {"model": "tiny", "repeats": 2, "scenarios": ["short-chat"], "quality": False}
    with fake.client() as client, client.stream("POST", "/v1/mlxr/bench", json=body) as response:
        assert response.status_code == 200
        events = events_of(response)
    assert [events[0]["type"], events[-1]["type"]] == ["started", "done"]
    assert sum(event["type"] == "sample" for event in events) >= 4
    shares = [event["share"] for event in events if event["type"] == "step"]
    assert shares == sorted(shares)
    bench_id = events[-1]["bench_id"]
    listed = fake.get("/v1/mlxr/bench?model=tiny&limit=3")
    assert listed["benches"][0]["bench_id"] == bench_id
    assert listed["running"] is None
    run = fake.get(f"/v1/mlxr/bench/{bench_id}")
    assert bench_id in json.dumps(run)


def test_only_one_runs_at_a_time_and_it_can_be_stopped(fake: GatewayProcess) -> None:
    body = {"model": "tiny", "repeats": 900, "minutes": 10, "quality": False}
    events: list[dict[str, Any]] = []
    has_sample = threading.Event()

    def follow() -> None:
        with fake.client() as client, client.stream("POST", "/v1/mlxr/bench", json=body) as response:
            for data in sse_events(response.iter_lines()):
                events.append(json.loads(data))
                if events[-1]["type"] == "sample":
                    has_sample.set()

    follower = threading.Thread(target=follow)
    follower.start()
    assert has_sample.wait(WITHIN_S)
    second = fake.post("/v1/mlxr/bench", body)
    assert (second.status_code, second.json()["error"]["code"]) == (409, "bench_running")
    stopped = fake.post("/v1/mlxr/bench/stop", {})
    assert stopped.json() == {"stopped": events[0]["bench_id"]}
    follower.join(WITHIN_S)
    assert events[-1] == {"type": "done", "bench_id": events[0]["bench_id"], "is_complete": False}
    assert fake.post("/v1/mlxr/bench/stop", {}).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"model": "nope"}, 404, "nope"),
        ({"model": "tiny", "contestants": ["llamacpp kv=q9"]}, 400, "kv_type"),
        ({"model": "tiny", "repeats": 0}, 400, "repeats"),
        ({"model": "tiny", "scenarios": ["x"]}, 400, "no scenario"),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(fake: GatewayProcess, body: Any, status: int, words: str) -> None:
    response = fake.post("/v1/mlxr/bench", body)
    assert response.status_code == status
    assert words in response.json()["error"]["message"]


def test_a_run_that_is_not_there_is_a_404(fake: GatewayProcess) -> None:
    with fake.client() as client:
        assert client.get("/v1/mlxr/bench/b-none").status_code == 404
        assert client.get("/v1/mlxr/bench?limit=x").status_code == 400


@pytest.mark.slow
def test_a_long_talk_recalls_wound_what_it_forgets_cut(tmp_path: Path, make_home: Callable[[Path], Path]) -> None:
    answers = [["Write at most", "{facts}"], ["What is the", "{fact}"], ["", "I see."]]
    gateway = GatewayProcess(make_home(tmp_path / "home"), fake_options={"context_length": 65536, "answers": answers})
    try:
        contestants = ("--a", "llamacpp ctx=9000", "--b", "mlx ctx=9000")
        record = measured(gateway, *contestants, "--scenarios", "long-talk-40", "--repeats", "1", "--no-quality")
        left = gateway.get("/v1/mlxr/contexts")["contexts"]
    finally:
        assert gateway.stop() == 0
    samples = [sample for sample in record["samples"] if sample["contestant"] == 0]
    assert {sample["error"] for sample in samples} == {None}
    assert {sample["talk"] for sample in samples} == {"wind", "truncated"}, "the context does not hold all of it"
    recalls = {
        way: [s["recall"] for s in samples if s["talk"] == way and s["turn"] is None] for way in ("wind", "truncated")
    }
    assert recalls["wind"] == ["right"] * 5
    assert "missing" in recalls["truncated"]
    assert any(sample["context_id"] for sample in samples if sample["talk"] == "wind")
    assert max(sample["num_prompt_tokens"] for sample in samples) <= 9000
    assert left == [], "what was told of talks is let go of"
