"""Requests of all protocols in a random order, good, bad and given up, and a client's own count of them."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx
import msgspec
from websockets.asyncio.client import connect

from tests.support.metric_values import MetricValues

Ask = Callable[["MixedClient"], Awaitable[None]]


class MixedClient:
    """Sends requests for one model on one engine, and counts.

    Attributes:
        requests: By protocol, model, engine and status, as `mlxr_requests_total`.
        tokens: By protocol and type, as `mlxr_tokens_total`; without answers that were given up.
        answers: Generations and embeddings by protocol and outcome.
    """

    def __init__(self, client: httpx.AsyncClient, model: str, engine: str) -> None:
        self.requests: Counter[tuple[str, str, str, str]] = Counter()
        self.tokens: Counter[tuple[str, str]] = Counter()
        self.answers: Counter[tuple[str, str]] = Counter()
        self.model = model
        self._client = client
        self._engine = engine
        self._headers = {"X-Mlxr-Engine": engine}

    async def run(self, seed: int, number: int, kinds: "Sequence[Ask] | None" = None) -> None:
        """Send so many of all kinds, or of some, eight at a time."""
        pick, places = random.Random(seed), asyncio.Semaphore(8)
        wanted = kinds or KINDS
        kinds = [wanted[index % len(wanted)] for index in range(number)]
        pick.shuffle(kinds)

        async def one(kind: Ask) -> None:
            async with places:
                await kind(self)

        await asyncio.gather(*map(one, kinds))

    async def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return await self._client.post(path, json={"model": self.model, **body}, headers=self._headers)

    async def get(self, path: str) -> int:
        return (await self._client.get(path)).status_code

    async def give_up(self, path: str, body: dict[str, Any]) -> None:
        """Go away after the first piece of a stream."""
        content = {"model": self.model, **body}
        async with self._client.stream("POST", path, json=content, headers=self._headers) as response:
            await anext(response.aiter_bytes())

    async def ask_in_socket(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the last event of a response that is asked for in a WebSocket of its own."""
        url = f"{str(self._client.base_url).replace('http', 'ws', 1).rstrip('/')}/v1/responses"
        async with connect(url, additional_headers=self._headers) as socket:
            await socket.send(json.dumps({"type": "response.create", "model": self.model, **body}))
            async for text in socket:
                event: dict[str, Any] = json.loads(text)
                if event["type"] in {"response.completed", "response.incomplete", "error"}:
                    return event
        raise AssertionError

    def served(self, protocol: str, status: int, *, by: str | None = None, outcome: str = "completed") -> None:
        self.requests[protocol, self.model, self._engine, str(status)] += 1
        self.answers[by or protocol, outcome] += 1

    def refused(self, protocol: str, status: int, model: str = "unknown") -> None:
        self.requests[protocol, model, "none", str(status)] += 1

    def used(self, protocol: str, num_in: int, num_out: int) -> None:
        self.tokens[protocol, "input"] += num_in
        self.tokens[protocol, "output"] += num_out


_CHAT = {"messages": [{"role": "user", "content": "tell me"}], "temperature": 0}


def _events(response: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: {")]
    return [msgspec.json.decode(line) for line in lines]


async def _chat(client: MixedClient) -> None:
    usage = (await client.post("/v1/chat/completions", _CHAT | {"max_tokens": 5})).raise_for_status().json()["usage"]
    client.served("openai", 200)
    client.used("openai", usage["prompt_tokens"], usage["completion_tokens"])


async def _chat_stream(client: MixedClient) -> None:
    body = _CHAT | {"max_tokens": 7, "stream": True, "stream_options": {"include_usage": True}}
    usage = _events(await client.post("/v1/chat/completions", body))[-1]["usage"]
    client.served("openai", 200)
    client.used("openai", usage["prompt_tokens"], usage["completion_tokens"])


async def _completion(client: MixedClient) -> None:
    body = {"prompt": ["once", "twice"], "max_tokens": 4, "n": 2, "temperature": 0}
    usage = (await client.post("/v1/completions", body)).raise_for_status().json()["usage"]
    client.served("openai", 200)
    client.used("openai", usage["prompt_tokens"], usage["completion_tokens"])


async def _response(client: MixedClient) -> None:
    body = {"input": "tell me", "max_output_tokens": 16, "temperature": 0}
    usage = (await client.post("/v1/responses", body)).raise_for_status().json()["usage"]
    client.served("responses", 200, by="openai")
    client.used("openai", usage["input_tokens"], usage["output_tokens"])


async def _socket_response(client: MixedClient) -> None:
    event = await client.ask_in_socket({"input": "tell me", "max_output_tokens": 16, "temperature": 0})
    client.served("responses", 200, by="openai")
    client.used("openai", event["response"]["usage"]["input_tokens"], event["response"]["usage"]["output_tokens"])


async def _bad_in_socket(client: MixedClient) -> None:
    client.refused("responses", (await client.ask_in_socket({"input": 7}))["status"])


async def _message(client: MixedClient) -> None:
    usage = (await client.post("/v1/messages", _CHAT | {"max_tokens": 6})).raise_for_status().json()["usage"]
    client.served("anthropic", 200)
    client.used("anthropic", usage["input_tokens"] + usage["cache_read_input_tokens"], usage["output_tokens"])


async def _ollama(client: MixedClient) -> None:
    body = {"messages": _CHAT["messages"], "stream": False, "options": {"num_predict": 5, "temperature": 0}}
    answer = (await client.post("/api/chat", body)).raise_for_status().json()
    client.served("ollama", 200)
    client.used("ollama", answer["prompt_eval_count"], answer["eval_count"])


async def _llamaserver(client: MixedClient) -> None:
    answer = (await client.post("/completion", {"prompt": "once", "n_predict": 3})).raise_for_status().json()
    client.served("llamaserver", 200)
    client.used("llamaserver", answer["tokens_evaluated"], answer["tokens_predicted"])


async def _embedding(client: MixedClient) -> None:
    answer = (await client.post("/v1/embeddings", {"input": ["one", "two"]})).raise_for_status().json()
    client.served("openai", 200)
    client.used("openai", answer["usage"]["prompt_tokens"], 0)


async def given_up(client: MixedClient) -> None:
    await client.give_up("/completion", {"prompt": "once", "n_predict": 2000, "stream": True, "ignore_eos": True})
    client.served("llamaserver", 499, outcome="cancelled")


async def _bad_field(client: MixedClient) -> None:
    client.refused("openai", (await client.post("/v1/chat/completions", _CHAT | {"temperature": -1})).status_code)


async def _bad_message(client: MixedClient) -> None:
    client.refused("anthropic", (await client.post("/v1/messages", {"messages": "no list"})).status_code)


async def _no_model(client: MixedClient) -> None:
    client.refused("ollama", (await client.post("/api/chat", {"model": "no-such", "messages": []})).status_code)


async def _no_path(client: MixedClient) -> None:
    client.refused("none", await client.get("/no/such/path"), "none")


async def _no_method(client: MixedClient) -> None:
    client.refused("none", await client.get("/v1/chat/completions"), "none")


async def _models(client: MixedClient) -> None:
    client.refused("openai", await client.get("/v1/models"), "none")


KINDS: tuple[Ask, ...] = (
    _chat,
    _chat_stream,
    _completion,
    _response,
    _socket_response,
    _bad_in_socket,
    _message,
    _ollama,
    _llamaserver,
    _embedding,
    given_up,
    _bad_field,
    _bad_message,
    _no_model,
    _no_path,
    _no_method,
    _models,
)


def check_counters(found: MetricValues, clients: Sequence[MixedClient], number: int) -> None:
    """Hold every counter against what the clients counted, who sent so many requests and nobody else any."""
    requests = sum((client.requests for client in clients), Counter())
    tokens = sum((client.tokens for client in clients), Counter())
    answers = sum((client.answers for client in clients), Counter())
    ours = {key: value for key, value in found.of("mlxr_requests_total").items() if key[0] != "mlxr"}
    assert ours == dict(requests)
    assert sum(ours.values()) == number
    errors = sum(num for key, num in requests.items() if int(key[3]) >= 400)
    assert sum(value for key, value in found.of("mlxr_request_errors_total").items() if key[0] != "mlxr") == errors
    for (protocol, kind), num_tokens in tokens.items():
        counted = found.one("mlxr_tokens_total", protocol=protocol, type=kind)
        if protocol == "llamaserver":  # what was given up had tokens of which the client has seen a part
            assert counted >= num_tokens
        else:
            assert counted == num_tokens, (protocol, kind)
    for (protocol, outcome), num_answers in answers.items():
        names = ("mlxr_generations_total", "mlxr_embeddings_total")
        counted = sum(found.one(name, protocol=protocol, outcome=outcome) for name in names)
        assert counted == num_answers, (protocol, outcome)
    assert found.one("gen_ai_server_request_duration_seconds_count") == sum(answers.values())
    embeddings = found.one("mlxr_embeddings_total")
    assert found.one("gen_ai_server_time_to_first_token_seconds_count") == sum(answers.values()) - embeddings
    assert found.one("mlxr_key_requests_total", key="owner") == sum(
        num for key, num in requests.items() if key[0] != "none" and key[1] != "none"
    )
    assert found.one("mlxr_requests_in_flight") == 0
