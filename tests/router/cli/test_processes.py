import json
import time

import msgspec

from router.status import HashProgress, WaitingTarget
from router.status.upstreams import UpstreamModelStatus, UpstreamStatus
from tests.router.cli.conftest import Mlxr
from tests.router.cli.stub_gateway import StubGateway, queue, worker


def test_ps_without_a_server(mlxr: Mlxr) -> None:
    assert mlxr("ps") == (0, "No mlxr server is running; `mlxr serve` starts one.\n", "")
    assert mlxr("ps", "--json").out == "null\n"


def test_ps_lists_workers_and_the_queue(mlxr: Mlxr, stub: StubGateway) -> None:
    assert "No model is loaded" in mlxr("ps").out
    stub.status["workers"] = [
        worker("a\x1b", state="generating", num_running=2),
        worker("b", state="loading", load_fraction=0.25, rss_bytes=None, loaded_at=None),
        worker(None, state="standby", engine="mlx"),
        worker("c", expires_at=time.time() + 300, vision={"max_side_px": 256, "high_side_px": 742}),
    ]
    stub.status["config_error"] = "server.yaml, line 3: oops"
    stub.status["queue"] = queue(WaitingTarget("b", "mlx", 1))
    out = mlxr("ps").out
    assert "a\\x1b" in out
    assert "UNLOADS" in out
    assert "in 299 s" in out or "in 300 s" in out
    assert "350.0 MB" in out
    assert "loading 25%" in out
    assert "standby" in out
    assert "Pictures for c: at most 256 pixels by the longer side, 742 where a request asks for more." in out
    assert "1 request waiting: 1 for b@mlx" in out
    assert "line 3: oops" in out


def test_ps_and_doctor_tell_what_is_not_normal_in_one_line(mlxr: Mlxr, stub: StubGateway) -> None:
    assert "not at its best" not in mlxr("ps").out
    calm = {"state": "nominal", "reason": "zone 0 at 40 C"}
    stub.status["heat"] = calm
    assert "not at its best" not in mlxr("ps").out
    stub.status["suspended"] = "suspended by command"
    stub.status["heat"] = calm | {"state": "serious", "reason": "zone 0 at 96 C"}
    stub.status["memory"] = {
        "tier": "high",
        "pressure": "critical",
        "reason": "90% is in use",
        "used_share": 0.9,
        "stall_share": None,
        "system_level": None,
        "own_bytes": None,
        "budget_bytes": None,
        "settings": [],
    }
    line = (
        "suspended (suspended by command; `mlxr resume` ends it); memory pressure critical (90% is in use); "
        "heat serious (zone 0 at 96 C)"
    )
    assert f"The server is not at its best: {line}.\n" in mlxr("ps").out
    (check,) = [each for each in json.loads(mlxr("doctor", "--json").out)["checks"] if each["name"] == "server"]
    assert check["state"] == "note"
    assert check["found"].endswith(line)


def test_ps_and_doctor_say_that_a_server_is_to_be_restarted(mlxr: Mlxr, stub: StubGateway) -> None:
    stub.status["restart"] = "mlxr 99.0 was installed while this server, mlxr 0.1.0, runs: restart it"
    assert "No worker can be started: mlxr 99.0 was installed" in mlxr("ps").out
    (check,) = [each for each in json.loads(mlxr("doctor", "--json").out)["checks"] if each["name"] == "server"]
    assert (check["state"], check["remedy"]) == ("broken", "mlxr service restart")


def test_ps_says_of_each_upstream_whether_it_is_asked(mlxr: Mlxr, stub: StubGateway) -> None:
    sound = UpstreamStatus(
        name="box",
        url="http://10.0.0.2:8000",
        protocol="openai",
        state="closed",
        is_asked=True,
        why=None,
        wait_s=0.0,
        num_running=1,
        num_waiting=2,
        num_answered=3,
        num_failed=0,
        checked_at=None,
        tokens_today=1234,
        cost_today=0.5,
        models=[UpstreamModelStatus("m", "M", None)],
    )
    replace = msgspec.structs.replace
    idle = replace(sound, num_running=0, num_waiting=0, tokens_today=0)
    failed_once = replace(idle, why="it broke off")
    left_alone = replace(failed_once, state="open", is_asked=False, wait_s=9.7)
    refused = replace(idle, state="refused", is_asked=False, models=[])
    stub.status["upstreams"] = msgspec.to_builtins([sound, failed_once, left_alone, refused])
    told = [line for line in mlxr("ps").out.splitlines() if line.startswith("upstream:")]
    assert told == [
        "upstream:box has 1 model, 1 running, 2 waiting, 1,234 tokens today for 0.5.",
        "upstream:box has 1 model; it failed last: it broke off.",
        "upstream:box has 1 model, and is not asked now: it broke off; it is asked again in 10 s.",
        "upstream:box has 0 models, and is not asked now: refused.",
    ]


def test_ps_says_how_far_a_cache_has_grown_until_it_is_whole(mlxr: Mlxr, stub: StubGateway) -> None:
    cells = {"num_cells": 8192, "num_cells_made": 4096, "num_cells_used": 3000}
    stub.status["workers"] = [
        worker("a", **cells, num_cache_growths=1),
        worker("b", **cells | {"num_cells_made": 8192}),
    ]
    told = [line for line in mlxr("ps").out.splitlines() if line.startswith("The cache of ")]
    assert told == [
        "The cache of a has memory for 4,096 of its 8,192 tokens, after 1 growth; 3,000 are in use.",
    ]


def test_ps_as_json_is_the_servers_whole_status(mlxr: Mlxr, stub: StubGateway) -> None:
    assert json.loads(mlxr("ps", "--json").out) == stub.status


def test_stop_says_what_came_back(mlxr: Mlxr, stub: StubGateway) -> None:
    answer = {"stopped": True, "freed_bytes": 350_000_000, "unload_ms": 120.0}
    stub.answers["/v1/mlxr/models/stop"] = (200, json.dumps(answer))
    assert mlxr("stop", "m").out == "m is unloaded in 0.12 s; 350.0 MB freed.\n"
    assert json.loads(mlxr("stop", "m", "--json").out) == answer


def test_stopping_what_is_not_loaded_or_unknown(mlxr: Mlxr, stub: StubGateway) -> None:
    stub.answers["/v1/mlxr/models/stop"] = (200, '{"stopped": false, "freed_bytes": null, "unload_ms": null}')
    assert mlxr("stop", "m") == (0, "m was not loaded.\n", "")
    stub.answers["/v1/mlxr/models/stop"] = (404, '{"error": {"message": "There is no model \'m\'.", "code": "x"}}')
    assert mlxr("stop", "m") == (1, "", "mlxr: There is no model 'm'.\n")


def test_stop_needs_a_server(mlxr: Mlxr) -> None:
    result = mlxr("stop", "m")
    assert result.exit_code == 1
    assert "mlxr serve" in result.err


def test_ps_says_how_far_the_checksums_are(mlxr: Mlxr, stub: StubGateway) -> None:
    assert "checksums" not in mlxr("ps").out
    progress = HashProgress(num_artifacts_left=2, done_bytes=1_500_000_000, total_bytes=4_000_000_000, path="/m")
    stub.status["checksums"] = msgspec.to_builtins(progress)
    assert "Computing checksums in the background: 1.5 GB of 4.0 GB, 2 models left." in mlxr("ps").out


def test_ps_says_how_full_the_contexts_of_running_requests_are(mlxr: Mlxr, stub: StubGateway) -> None:
    fill = {"request": "chatcmpl-1", "model": "m", "used": 3012, "limit": 4096}
    wound = fill | {"id": "ctx_1", "turns": 24, "narrative_tokens": 310}
    left_out = fill | {"id": "ctx_2", "turns": 1, "narrative_tokens": 0, "left_out": True}
    stub.status["contexts"] = [fill, wound, left_out, wound | {"left_out": True}]
    out = mlxr("ps").out
    filled = "chatcmpl-1 fills 3,012 of 4,096 tokens of m"
    assert f"{filled}.\n" in out
    assert f"{filled}; 24 older messages told in 310 tokens (ctx_1).\n" in out
    assert f"{filled}; 1 older message left out (ctx_2).\n" in out
    assert f"{filled}; 24 older messages told in 310 tokens, and some left out (ctx_1).\n" in out


def test_ps_says_what_models_take_and_who_would_go_next_where_several_may_be_loaded(
    mlxr: Mlxr, stub: StubGateway
) -> None:
    stub.status["workers"] = [worker("a"), worker("b")]
    share = {"engine": "mlx", "held_bytes": 3_000_000_000, "read_bytes": 2_500_000_000, "is_pinned": False}
    told = {
        "mode": "exclusive",
        "limit_bytes": 8_000_000_000,
        "held_bytes": 6_000_000_000,
        "groups": {},
        "models": [
            share | {"model": "a", "goes": 1, "why": "idle for 9 s, loaded in 2.0 s"},
            share | {"model": "b", "goes": None, "is_pinned": True, "why": "pinned"},
        ],
    }
    stub.status["memory_of_models"] = told
    assert "Residency" not in mlxr("ps").out
    stub.status["memory_of_models"] = told | {"mode": "budget"}
    out = mlxr("ps").out
    assert "Residency: budget. 6.0 GB are taken; there are 8.0 GB for models.\n" in out
    assert "idle for 9 s, loaded in 2.0 s" in out
    assert "stays" in out
