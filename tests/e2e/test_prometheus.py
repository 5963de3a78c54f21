"""Prometheus itself scrapes a gateway, and answers questions about it."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.support import tiny_model
from tests.support.gateway_process import GatewayProcess
from tests.support.plain_http import NO_TLS
from tests.support.processes import ending
from tests.support.waiting import WITHIN_S, wait_until

PROMETHEUS = shutil.which("prometheus")
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4, "temperature": 0}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROMETHEUS is None, reason="no prometheus here (Debian's package `prometheus` has it)"),
]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    home = tmp_path / "home"
    paths = Paths.under(home)
    paths.ensure_folders()
    with Registry(paths.registry_db) as registry:
        register_path(registry, tiny_model.write_gguf(tmp_path / "tiny.gguf"), name="tiny")
    gateway = GatewayProcess(home, config={"models": {"hf_cache": False}}, fake_options={})
    yield gateway
    gateway.stop()


@pytest.fixture
def prometheus(gateway: GatewayProcess, tmp_path: Path) -> Iterator[httpx.Client]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    target = {"job_name": "mlxr", "static_configs": [{"targets": [gateway.url.removeprefix("http://")]}]}
    config = {"global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"}, "scrape_configs": [target]}
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    assert PROMETHEUS is not None
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    with (
        ending(process),
        httpx.Client(base_url=f"http://{address}", timeout=WITHIN_S, trust_env=False, verify=NO_TLS) as client,
    ):
        yield client


def answer(prometheus: httpx.Client, query: str) -> list[dict[str, Any]]:
    try:
        response = prometheus.get("/api/v1/query", params={"query": query})
    except httpx.TransportError:
        return []  # it is not up yet
    if response.status_code != 200:
        return []
    result: list[dict[str, Any]] = response.json()["data"]["result"]
    return result


def test_prometheus_scrapes_and_a_query_answers(gateway: GatewayProcess, prometheus: httpx.Client) -> None:
    for _ in range(3):
        gateway.post("/v1/chat/completions", CHAT).raise_for_status()
    gateway.post("/v1/chat/completions", CHAT | {"model": "no-such"})
    query = 'sum by (status) (mlxr_requests_total{protocol="openai"})'
    wait_until(lambda: len(answer(prometheus, query)) == 2, "both statuses are scraped")
    counts = {each["metric"]["status"]: each["value"][1] for each in answer(prometheus, query)}
    assert counts == {"200": "3", "404": "1"}
    assert answer(prometheus, "up")[0]["value"][1] == "1"
    quantile = "histogram_quantile(0.5, sum by (le) (gen_ai_server_time_to_first_token_seconds_bucket))"
    assert float(answer(prometheus, quantile)[0]["value"][1]) > 0
    dashboard = json.loads((Path(__file__).parents[2] / "configs" / "grafana" / "mlxr.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", "1m")
            response = prometheus.get("/api/v1/query", params={"query": expression})
            assert response.json()["status"] == "success", (panel["title"], response.text)
    targets = prometheus.get("/api/v1/targets").json()["data"]["activeTargets"]
    assert [each["lastError"] for each in targets] == [""]
