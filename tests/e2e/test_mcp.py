"""`mlxr mcp` as agents see it: the official client, both transports, a real gateway whose engines are the fake one."""

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.cli.mcp.mcp import PACKAGE
from tests.support.gateway_process import GatewayProcess, environment
from tests.support.mcp_clients import argv, over_http, over_stdio, serving_http, text_of
from tests.support.waiting import WITHIN_S, until

pytestmark = pytest.mark.slow

QUICK = {"decode_s": 0.002, "prefill_s_per_token": 0.0001, "context_length": 32768}
READING = {"list_models", "read_status", "explain_engine", "list_benchmarks", "read_benchmark"}
KEY = "a-key-of-this-test-alone"
BENCH = {"model": "tiny", "contestants": ["llamacpp"], "scenarios": ["short-chat"], "repeats": 1, "minutes": 1}

Connect = Callable[[], AbstractAsyncContextManager[Any]]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, make_home: Callable[[Path], Path]) -> Iterator[GatewayProcess]:
    process = GatewayProcess(make_home(tmp_path_factory.mktemp("mcp") / "home"), fake_options=QUICK)
    yield process
    assert process.stop() == 0


@pytest.fixture(scope="module")
def reading(gateway: GatewayProcess) -> Iterator[str]:
    with serving_http(gateway.home) as address:
        yield address


@pytest.fixture(scope="module")
def managing(gateway: GatewayProcess) -> Iterator[str]:
    with serving_http(gateway.home, "--allow", "admin", key=KEY) as address:
        yield address


async def read_all(client: Any) -> None:
    """Use every tool that only reads."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == READING
    assert all(tool.annotations.read_only_hint for tool in tools.values())
    assert all(tool.input_schema["type"] == "object" for tool in tools.values())
    models = (await client.call_tool("list_models")).structured_content["models"]
    assert {"tiny"} <= {model["id"] for model in models}
    status = await client.call_tool("read_status", {})
    assert json.loads(text_of(status)) == status.structured_content
    assert status.structured_content["engine_setting"] in {"auto", "mlx", "llamacpp"}
    explained = await client.call_tool("explain_engine", {"model": "tiny", "prompt_tokens": 4000})
    assert explained.structured_content["prompt_tokens"] == 4000
    assert {each["engine"] for each in explained.structured_content["engines"]} == {"mlx", "llamacpp"}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_reads_over_stdio(gateway: GatewayProcess, mode: str) -> None:
    async with over_stdio(gateway.home, mode=mode) as client:
        await read_all(client)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_reads_over_http(reading: str, mode: str) -> None:
    async with over_http(reading, mode=mode) as client:
        await read_all(client)


async def test_a_server_that_only_reads_refuses_to_change_and_says_what_would_allow_it(
    gateway: GatewayProcess, reading: str
) -> None:
    before = gateway.get("/v1/mlxr/engine")
    async with over_http(reading) as client:
        for name, arguments in (("set_engine", {"engine": "llamacpp"}), ("run_benchmark", BENCH)):
            refused = await client.call_tool(name, arguments)
            assert refused.is_error
            assert text_of(refused) == (
                f"{name} is not allowed by this MCP server: the user may start it with `mlxr mcp --allow models`."
            )
    assert gateway.get("/v1/mlxr/engine") == before


async def test_models_may_set_a_models_engine_and_not_that_of_all(gateway: GatewayProcess) -> None:
    async with over_stdio(gateway.home, "--allow", "models") as client:
        tools = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
        assert set(tools) == READING | {"run_benchmark", "set_engine"}
        assert not tools["set_engine"].read_only_hint
        done = await client.call_tool("set_engine", {"engine": "llamacpp", "model": "tiny"})
        assert done.structured_content == {"model": "tiny", "engine": "llamacpp"}
        explained = await client.call_tool("explain_engine", {"model": "tiny"})
        assert explained.structured_content["engine"] == "llamacpp"
        refused = await client.call_tool("set_engine", {"engine": "llamacpp"})
        assert refused.is_error
        assert "mlxr mcp --allow admin" in text_of(refused)
        elsewhere = BENCH | {"contestants": ["http://127.0.0.1:9/v1#model"]}
        refused = await client.call_tool("run_benchmark", elsewhere)
        assert refused.is_error
        assert text_of(refused).startswith("contestants: addresses of other servers are not taken from agents")


async def test_admin_flips_the_engine_of_all(gateway: GatewayProcess, managing: str) -> None:
    async with over_http(managing, key=KEY) as client:
        for engine in ("llamacpp", "auto"):
            assert (await client.call_tool("set_engine", {"engine": engine})).structured_content == {"engine": engine}
            assert gateway.get("/v1/mlxr/engine") == {"engine": engine}


async def test_a_benchmark_tells_how_far_it_is_and_what_it_found(managing: str) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with over_http(managing, key=KEY) as client:
        done = await client.call_tool("run_benchmark", BENCH, progress_callback=on_progress)
        assert not done.is_error, text_of(done)
        found = done.structured_content
        shares = [share for share, _, _ in told]
        assert len(shares) > 1
        assert shares == sorted(set(shares))
        assert {total for _, total, _ in told} == {1.0}
        assert any("short-chat" in (message or "") for _, _, message in told)
        assert "short-chat" in found["report"]
        listed = (await client.call_tool("list_benchmarks", {"model": "tiny"})).structured_content["benches"]
        assert found["bench_id"] in {head["bench_id"] for head in listed}
        again = await client.call_tool("read_benchmark", {"bench_id": found["bench_id"]})
        assert again.structured_content == found


@pytest.mark.parametrize("transport", ["http", "stdio"])
async def test_a_benchmark_whose_caller_goes_is_stopped(gateway: GatewayProcess, managing: str, transport: str) -> None:
    begun = asyncio.Event()

    async def on_progress(*_: object) -> None:
        begun.set()

    long = BENCH | {"scenarios": ["long-answer"], "minutes": 30, "repeats": 1000}
    connected = over_http(managing, key=KEY) if transport == "http" else over_stdio(gateway.home, "--allow", "models")
    async with connected as client:
        call = asyncio.create_task(client.call_tool("run_benchmark", long, progress_callback=on_progress))
        await asyncio.wait_for(begun.wait(), WITHIN_S)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: gateway.get("/v1/mlxr/bench")["running"] is None, "the benchmark's end")
    kept = [each for each in gateway.get("/v1/mlxr/bench")["benches"] if each["repeats"] == 1000]
    assert not any(each["is_complete"] for each in kept)


HOSTILE: list[tuple[str, Any, str]] = [
    ("explain_engine", {}, "model"),
    ("explain_engine", {"model": 7}, "$.model"),
    ("explain_engine", {"model": ""}, "$.model"),
    ("explain_engine", {"model": "a" * 257}, "$.model"),
    ("explain_engine", {"model": "../../etc/passwd"}, "../../etc/passwd"),
    ("explain_engine", {"model": "tiny&prompt_tokens=9"}, "tiny&prompt_tokens=9"),
    ("explain_engine", {"model": "no\x00such\r\nHost: x"}, "no"),
    ("explain_engine", {"model": "tiny", "prompt_tokens": -1}, "$.prompt_tokens"),
    ("explain_engine", {"model": "tiny", "prompt_tokens": 10**30}, "$.prompt_tokens"),
    ("explain_engine", {"model": "tiny", "prompt_tokens": "9"}, "$.prompt_tokens"),
    ("explain_engine", {"model": "tiny", "shell": "rm"}, "shell"),
    ("read_benchmark", {"bench_id": "../config"}, "$.bench_id"),
    ("read_benchmark", {"bench_id": "?limit=1"}, "$.bench_id"),
    ("read_benchmark", {"bench_id": "no-such"}, "no-such"),
    ("list_models", {"x": 1}, "x"),
    ("run_benchmark", BENCH | {"minutes": 1e9}, "$.minutes"),
    ("run_benchmark", BENCH | {"contestants": ["llamacpp ctx=-1"]}, "ctx"),
    ("run_benchmark", BENCH | {"model": "no-such"}, "no-such"),
    ("run_benchmark", BENCH | {"prompts": [{"prompt": "x"}]}, "prompts"),
    ("set_engine", {"engine": "rm -rf"}, "$.engine"),
    ("set_engine", {"engine": "mlx", "model": "no-such"}, "no-such"),
    ("__class__", {}, "There is no tool"),
    ("set_engine\x00", {"engine": "mlx"}, "There is no tool"),
]


async def test_bad_arguments_are_refused_with_a_sentence_and_the_server_goes_on(managing: str) -> None:
    async with over_http(managing, key=KEY) as client:
        for name, arguments, said in HOSTILE:
            refused = await client.call_tool(name, arguments)
            assert refused.is_error, (name, arguments)
            assert said in text_of(refused), (name, arguments, text_of(refused))
            assert "Traceback" not in text_of(refused)
        assert not (await client.call_tool("read_status")).is_error


def posted(address: str, **headers: str) -> httpx.Response:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"Accept": "application/json, text/event-stream"}
    return httpx.post(address, json=body, headers=accept | headers, timeout=WITHIN_S, trust_env=False)


def test_over_http_other_hosts_origins_and_paths_are_refused(reading: str) -> None:
    assert posted(reading, Host="attacker.example").status_code == 421
    assert posted(reading, Host="127.0.0.1.attacker.example:80").status_code == 421
    assert posted(reading, Origin="https://attacker.example").status_code == 403
    assert posted(reading, Origin="http://localhost:3000").status_code == 403
    assert posted(reading, Origin="null").status_code == 403
    assert posted(reading.removesuffix("/mcp") + "/other").status_code == 404
    assert posted(reading, Origin=reading.removesuffix("/mcp")).status_code not in {403, 421}


def test_over_http_the_key_is_asked_for_where_one_is_set(managing: str) -> None:
    for sent in (b"", b"Bearer wrong", KEY.encode(), "Bearer ä".encode()):
        refused = httpx.post(managing, json={}, headers={b"Authorization": sent}, timeout=WITHIN_S, trust_env=False)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"


def called(home: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    own = environment(home) | variables
    return subprocess.run(
        argv(*arguments), env=own, capture_output=True, text=True, input="", timeout=WITHIN_S, check=False
    )


def test_other_machines_are_not_listened_to_without_a_key(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):  # noqa: S104 - refused
        refused = called(tmp_path, "--http", "--host", host)
        assert refused.returncode == 2
        assert f"--host {host}: other machines could ask without a key" in refused.stderr
    plain = called(tmp_path, "--port", "9000")
    assert (plain.returncode, plain.stderr) == (2, "mlxr: --port means nothing without --http, which serves HTTP.\n")
    short = called(tmp_path, "--http", "--host", "0.0.0.0", MLXR_MCP_KEY="short")  # noqa: S104 - refused
    assert short.returncode == 2
    assert "MLXR_MCP_KEY" in short.stderr


def test_without_the_package_the_command_that_installs_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "mcp_types.py").write_text("raise ModuleNotFoundError(\"No module named 'mcp_types'\")")
    own = environment(tmp_path)
    own |= {"PYTHONPATH": f"{tmp_path}:{own['PYTHONPATH']}"}
    refused = subprocess.run(argv(), env=own, capture_output=True, text=True, input="", timeout=WITHIN_S, check=False)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert f"-m pip install '{PACKAGE}'` installs it." in refused.stderr


async def test_where_no_server_runs_each_call_says_so(tmp_path: Path) -> None:
    async with over_stdio(tmp_path, "--allow", "admin") as client:
        for name, arguments in (("list_models", {}), ("set_engine", {"engine": "mlx"}), ("run_benchmark", BENCH)):
            refused = await client.call_tool(name, arguments)
            assert refused.is_error
            assert text_of(refused) == "No mlxr server is running; start one with `mlxr serve` in another terminal."
