"""Kept conversations over the end of the gateway in the middle of an answer."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.waiting import wait_until

StartGateway = Callable[..., GatewayProcess]


def client_of(gateway: GatewayProcess) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)


def items_of(client: openai.OpenAI, conversation_id: str) -> list[Any]:
    return list(client.conversations.items.list(conversation_id, order="asc"))


def text_of(item: Any) -> str:
    return str(item.content[0].text)


@pytest.mark.slow
def test_a_server_that_is_killed_in_mid_answer_has_kept_what_was_read_of_it(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    gates = tmp_path / "gates"
    gates.mkdir()
    (gates / "token-9").touch()
    options = {"answer_tokens": 20, "gates": str(gates)}
    gateway = start_gateway(fake_options=options)
    with client_of(gateway) as client:
        made = client.conversations.create()
        stream = client.responses.create(
            model="tiny", input="one", conversation=made.id, background=True, stream=True, service_tier="default"
        )
        read, response_id = "", ""
        for event in stream:
            response_id = event.response.id if event.type == "response.created" else response_id
            read += event.delta if event.type == "response.output_text.delta" else ""
            if len(read) >= 8:
                break
        stream.close()

        def is_kept() -> bool:
            items = items_of(client, made.id)
            return [item.status for item in items] == ["completed", "in_progress"] and read in text_of(items[1])

        wait_until(is_kept, "what was read is kept although nothing more comes")
    os.kill(gateway.pid, signal.SIGKILL)
    gateway.stop()
    (gates / "token-9").unlink()
    gateway = start_gateway(fake_options=options)
    with client_of(gateway) as client:
        asked, cut = items_of(client, made.id)
        assert (text_of(asked), asked.status, cut.status) == ("one", "completed", "incomplete")
        assert read in text_of(cut)
        wait_until(lambda: client.responses.retrieve(response_id).status == "failed", "it is told as failed")
        assert client.responses.retrieve(response_id).output_text == text_of(cut)
        client.responses.create(model="tiny", input="go on", conversation=made.id)
        assert [text_of(item) for item in items_of(client, made.id)][:3] == ["one", text_of(cut), "go on"]


@pytest.mark.slow
def test_a_reload_in_mid_answer_reads_on_where_it_was(start_gateway: StartGateway, tmp_path: Path) -> None:
    gates = tmp_path / "gates"
    gates.mkdir()
    (gates / "token-9").touch()
    gateway = start_gateway(fake_options={"answer_tokens": 20, "gates": str(gates)})
    with client_of(gateway) as client:
        made = client.conversations.create()
        stream = client.responses.create(
            model="tiny", input="one", conversation=made.id, background=True, stream=True, service_tier="default"
        )
        read, number, response_id = "", 0, ""
        for event in stream:
            number = event.sequence_number
            response_id = event.response.id if event.type == "response.created" else response_id
            read += event.delta if event.type == "response.output_text.delta" else ""
            if len(read) >= 4:
                break
        stream.close()
        (gates / "token-9").unlink()
        for event in client.responses.retrieve(response_id, stream=True, starting_after=number):
            read += event.delta if event.type == "response.output_text.delta" else ""
        answer = items_of(client, made.id)[-1]
        assert (text_of(answer), answer.status) == (read, "completed")


@pytest.mark.slow
def test_nothing_is_left_of_what_was_deleted_or_was_not_to_be_stored(start_gateway: StartGateway, home: Path) -> None:
    gateway = start_gateway(fake_options={"answer_tokens": 4})

    def left(word: str) -> bool:
        """Tell whether a word is in any database while the server runs."""
        return any(word.encode() in each.read_bytes() for each in (home / "data").rglob("*.sqlite3*"))

    with client_of(gateway) as client:
        made = client.conversations.create(items=[{"role": "user", "content": "quokkaberry"}])
        client.responses.create(model="tiny", input="and zanzibarium", conversation=made.id)
        alone = client.responses.create(model="tiny", input="only wombatiana")
        client.responses.create(model="tiny", input="never numbatella", store=False)
        client.responses.create(model="tiny", input="nor numbatella", conversation=made.id, store=False)
        for word in ("quokkaberry", "zanzibarium", "wombatiana"):
            wait_until(lambda word=word: left(word), f"{word} is kept")  # type: ignore[misc]  # a bound default
        assert not left("numbatella")
        client.conversations.delete(made.id)
        client.responses.delete(alone.id)
        for word in ("quokkaberry", "zanzibarium", "wombatiana"):
            wait_until(lambda word=word: not left(word), f"{word} is gone")  # type: ignore[misc]  # a bound default
