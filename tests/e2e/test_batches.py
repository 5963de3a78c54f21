"""Batches against real processes: the unmodified OpenAI client, the command line, and crashes in the middle."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import openai
import pytest

from tests.support.gateway_process import GatewayProcess, run_cli
from tests.support.waiting import wait_until

CHAT: Final = "/v1/chat/completions"
FINAL = {"completed", "failed", "expired", "cancelled"}
FAKE: dict[str, Any] = {"decode_s": 0.02, "answer_tokens": 20}
NUM_LINES = 40
NUM_CHAINED = 8


def line(custom_id: str, text: str, *depends_on: str, model: str = "tiny", **body: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    needs = {"depends_on": list(depends_on)} if depends_on else {}
    plain = {"model": model, "messages": messages, "temperature": 0}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": plain | body} | needs


def chained_lines() -> list[dict[str, Any]]:
    """Return a chain, each link with the answer of the one before, and lines of their own around it."""
    lines = [line("c0", "begin")]
    lines += [line(f"c{n}", f"go on from {{{{c{n - 1}.output}}}}", f"c{n - 1}") for n in range(1, NUM_CHAINED - 1)]
    last, before = f"c{NUM_CHAINED - 1}", f"c{NUM_CHAINED - 2}"
    lines.append(line(last, f"go on from {{{{{before}.output}}}}", before, ignore_eos=True, max_tokens=30))
    lines += [line(f"x{n}", f"question {n}") for n in range(NUM_LINES - NUM_CHAINED)]
    return lines


def written(folder: Path, lines: list[dict[str, Any]]) -> Path:
    path = folder / "lines.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return path


def client_of(gateway: GatewayProcess) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)


def begun(gateway: GatewayProcess, path: Path, **fields: Any) -> str:
    with client_of(gateway) as client:
        file = client.files.create(file=path, purpose="batch")
        batch = client.batches.create(
            input_file_id=file.id, endpoint=CHAT, completion_window="24h", extra_body=fields or None
        )
    return batch.id


def results_of(gateway: GatewayProcess, batch_id: str) -> dict[str, Any]:
    with client_of(gateway) as client:
        wait_until(lambda: client.batches.retrieve(batch_id).status in FINAL, "the batch ends")
        batch = client.batches.retrieve(batch_id)
        assert batch.status == "completed", batch
        assert batch.error_file_id is None
        assert batch.output_file_id is not None
        results = [json.loads(text) for text in client.files.content(batch.output_file_id).text.splitlines()]
    found = {result["custom_id"]: result["response"]["body"]["choices"][0]["message"]["content"] for result in results}
    assert len(found) == len(results)
    return found


def num_ended(gateway: GatewayProcess, batch_id: str) -> int:
    return len(gateway.get(f"/v1/mlxr/batches/{batch_id}/ends")["data"])


def test_every_line_ends_once_although_the_worker_and_the_gateway_are_killed(home: Path, tmp_path: Path) -> None:
    path = written(home, chained_lines())
    config = {"batches": {"parallel": 4}}
    gateway = GatewayProcess(home, config=config, fake_options=FAKE | {"gates": str(tmp_path)})
    try:
        undisturbed = results_of(gateway, begun(gateway, path))
        (tmp_path / "token-25").touch()  # only the chain's last link gets so far: the batch does not end before
        batch_id = begun(gateway, path)
        wait_until(lambda: num_ended(gateway, batch_id) >= NUM_LINES // 5, "some lines have ended")
        (worker,) = gateway.workers()
        worker.kill()
        wait_until(lambda: num_ended(gateway, batch_id) >= NUM_LINES // 2, "more lines have ended")
        workers = gateway.workers()
        os.kill(gateway.pid, signal.SIGKILL)
        gateway.process.wait()
        wait_until(lambda: not any(each.is_running() for each in workers), "the workers are gone")
    finally:
        gateway.stop()
    gateway = GatewayProcess(home, config=config, fake_options=FAKE)
    try:
        before = num_ended(gateway, batch_id)
        assert NUM_LINES // 2 <= before < NUM_LINES
        assert results_of(gateway, batch_id) == undisturbed
        ends = gateway.get(f"/v1/mlxr/batches/{batch_id}/ends")["data"]
        assert [end["place"] for end in ends] == list(range(1, NUM_LINES + 1))
        assert len({end["line"] for end in ends}) == NUM_LINES
        counts = gateway.get(f"/v1/batches/{batch_id}")["request_counts"]
        assert counts == {"total": NUM_LINES, "completed": NUM_LINES, "failed": 0}
    finally:
        assert gateway.stop() == 0


def test_a_batch_that_the_gateways_end_cuts_off_goes_on_with_the_next(home: Path) -> None:
    path = written(home, chained_lines())
    gateway = GatewayProcess(home, fake_options=FAKE)
    batch_id = begun(gateway, path)
    wait_until(lambda: num_ended(gateway, batch_id) >= 1, "a line has ended")
    assert gateway.stop() == 0
    gateway = GatewayProcess(home, fake_options=FAKE)
    try:
        assert len(results_of(gateway, batch_id)) == NUM_LINES
    finally:
        assert gateway.stop() == 0


def test_the_command_line_runs_lists_shows_and_cancels(home: Path) -> None:
    lines = [line("a", "hi"), line("b", "say {{a.output}}", "a"), line("bad", "hi", model="nobody")]
    path = written(home, lines)
    gateway = GatewayProcess(home, fake_options=FAKE)
    try:
        done = run_cli(home, "batch", "run", str(path), "--output", str(home / "out.jsonl"))
        assert done.returncode == 1, done.stderr
        assert "2 of 3 lines answered, 1 failed" in done.stdout
        assert "bad  failed: model_not_found" in done.stdout
        assert "at a time" in done.stdout
        answers = [json.loads(text) for text in (home / "out.jsonl").read_text().splitlines()]
        assert [answer["custom_id"] for answer in answers] == ["a", "b"]
        whole = run_cli(home, "batch", "run", str(written(home, lines[:2])), "--json")
        assert whole.returncode == 0, whole.stderr
        *ends, batch = [json.loads(text) for text in whole.stdout.splitlines()]
        assert [end["custom_id"] for end in ends] == ["a", "b"]
        listed = json.loads(run_cli(home, "batch", "list", "--json").stdout)["data"]
        assert listed[0]["id"] == batch["id"]
        assert batch["id"] in run_cli(home, "batch", "list").stdout
        assert "completed" in run_cli(home, "batch", "show", batch["id"]).stdout
        assert json.loads(run_cli(home, "batch", "show", batch["id"], "--json").stdout)["id"] == batch["id"]
        long = begun(gateway, written(home, [line("long", "hi")]))
        assert run_cli(home, "batch", "cancel", long).returncode == 0
        wait_until(lambda: gateway.get(f"/v1/batches/{long}")["status"] in FINAL, "it is cancelled")
        assert run_cli(home, "batch", "show", "nobody").returncode == 1
        broken = home / "broken.jsonl"
        broken.write_text("{")
        assert "no JSON" in run_cli(home, "batch", "run", str(broken)).stderr
    finally:
        gateway.stop()


@pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
def test_the_client_reads_a_batch_of_a_real_engine(
    engine: str, home: Path, start_gateway: Callable[..., GatewayProcess]
) -> None:
    gateway = start_gateway()
    model = f"tiny@{engine}"
    lines = [line(str(n), f"fox {n}", model=model, max_tokens=8) for n in range(5)]
    found = results_of(gateway, begun(gateway, written(home, lines)))
    with client_of(gateway) as client:
        alone = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "fox 3"}], max_tokens=8, temperature=0
        )
        assert found["3"] == alone.choices[0].message.content
        (batch,) = client.batches.list()
        assert batch.request_counts is not None
        assert batch.request_counts.completed == 5
        files = list(client.files.list())
        assert {file.purpose for file in files} == {"batch", "batch_output"}
        for file in files:
            assert client.files.delete(file.id).deleted
