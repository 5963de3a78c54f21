"""A real gateway while documents are read: it answers others, and ends the child of a client that goes."""

import json
import threading
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests.support.documents import docx, pdf
from tests.support.gateway_process import GatewayProcess, run_cli
from tests.support.processes import running_children
from tests.support.waiting import WITHIN_S, wait_until

StartGateway = Callable[..., GatewayProcess]
ENDLESS = b"<div>" * 6_000_000
"""As large as the gateway takes, and longer to read than anything here waits."""


def children_of(gateway: GatewayProcess) -> list[psutil.Process]:
    return running_children("router.documents.child", pid=gateway.pid)


def sending(gateway: GatewayProcess, name: str, data: bytes) -> HTTPConnection:
    """Send a document, and read no answer."""
    connection = HTTPConnection(urlsplit(gateway.url).netloc, timeout=WITHIN_S)
    connection.request("POST", f"/v1/mlxr/documents?name={name}", body=data)
    return connection


def answered(connection: HTTPConnection) -> Any:
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    return response.status, body


@pytest.mark.slow
def test_others_are_served_while_one_is_read_and_a_client_that_goes_ends_it(start_gateway: StartGateway) -> None:
    gateway = start_gateway(
        fake_options={"answer_tokens": 6}, config={"documents": {"max_cpu_s": 600, "timeout_s": 600}}
    )
    ask = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
    assert gateway.post("/v1/chat/completions", ask).status_code == 200
    first = answered(sending(gateway, "a.docx", docx()))
    assert first[1]["markdown"] == "# Report\n\nThe answer is 42."
    process = psutil.Process(gateway.pid)
    num_descriptors = process.num_fds()
    endless = sending(gateway, "a.html", ENDLESS)
    wait_until(lambda: bool(children_of(gateway)), "it is being read")
    (child,) = children_of(gateway)
    waiting = sending(gateway, "b.pdf", pdf(["second"]))
    for _ in range(20):
        assert gateway.get("/health")["status"] == "ok"
        assert gateway.post("/v1/chat/completions", ask).status_code == 200
    assert children_of(gateway) == [child], "one at a time"
    endless.close()
    status, body = answered(waiting)
    assert (status, body["markdown"]) == (200, "<!-- page 1 -->\n\nsecond"), "the next one has its turn"
    assert not child.is_running()
    assert children_of(gateway) == []
    wait_until(lambda: process.num_fds() <= num_descriptors, "nothing stays open")


@pytest.mark.slow
def test_a_gateway_that_is_killed_takes_its_reader_along(start_gateway: StartGateway) -> None:
    gateway = start_gateway(fake_options={}, config={"documents": {"max_cpu_s": 600, "timeout_s": 600}})
    connection = sending(gateway, "a.html", ENDLESS)
    wait_until(lambda: bool(children_of(gateway)), "it is being read")
    (child,) = children_of(gateway)
    gateway.process.kill()
    gateway.process.wait()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the reader has ended")
    connection.close()


@pytest.mark.slow
def test_many_at_once_are_read_one_after_the_other_and_the_gateway_does_not_grow(start_gateway: StartGateway) -> None:
    gateway = start_gateway(fake_options={})
    process = psutil.Process(gateway.pid)
    answered(sending(gateway, "a.pdf", pdf(["warm"])))
    before = process.memory_info().rss
    found: dict[str, Any] = {}

    def send(number: int) -> None:
        data = pdf([f"text {number}"]) + bytes(4 << 20)
        found[str(number)] = answered(sending(gateway, f"{number}.pdf", data))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {status for status, _ in found.values()} == {200}
    assert all(f"text {number}" in body["markdown"] for number, (_, body) in found.items())
    assert process.memory_info().rss - before < 96 << 20


@pytest.mark.slow
def test_the_command_line_shows_a_document_to_a_model(start_gateway: StartGateway, tmp_path: Any) -> None:
    start_gateway(fake_options={"answers": [["The answer is 42", "found"]]})
    path = tmp_path / "report.docx"
    path.write_bytes(docx())
    done = run_cli(tmp_path / "home", "run", "tiny", "What is it?", "--file", str(path))
    assert (done.returncode, done.stdout) == (0, "found\n"), done.stderr
    assert done.stderr.startswith("mlxr: report.docx: 27 characters, ")
