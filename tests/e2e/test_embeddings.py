"""Embeddings and introspection through a real gateway, by the unmodified OpenAI client."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.support import tiny_bert
from tests.support.gateway_process import GatewayProcess

ENGINES = ["llamacpp", "mlx"]
FOX = "the quick brown fox"
HI = [{"role": "user", "content": "hi <|im_end|>"}]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, make_home: Callable[[Path], Path]) -> Iterator[GatewayProcess]:
    home = make_home(tmp_path_factory.mktemp("embeddings") / "home")
    bert = tiny_bert.write_gguf(tmp_path_factory.mktemp("bert") / "bert.gguf")
    ranker = tiny_bert.write_gguf(bert.with_name("ranker.gguf"), pooling="RANK")
    with Registry(Paths.under(home).registry_db) as registry:
        register_path(registry, bert, name="bert")
        register_path(registry, ranker, name="ranker")
    gateway = GatewayProcess(home)
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def http(gateway: GatewayProcess) -> Iterator[httpx.Client]:
    with gateway.client() as client:
        yield client


def test_both_engines_give_the_same_vectors(client: openai.OpenAI) -> None:
    found = []
    for engine in ENGINES:
        answer = client.embeddings.create(model=f"tiny@{engine}", input=[FOX, "x"])
        assert answer.usage.prompt_tokens == answer.usage.total_tokens > 2
        assert [item.index for item in answer.data] == [0, 1]
        assert (answer.model_extra or {})["pooling"] == "mean"
        found.append(np.array([item.embedding for item in answer.data]))
    assert found[0].shape == (2, 64)
    assert np.abs(found[0] - found[1]).max() < 1e-3
    assert np.linalg.norm(found[0], axis=1) == pytest.approx(1, abs=1e-6)


def test_the_client_reads_floats_as_it_reads_base64(client: openai.OpenAI) -> None:
    (packed,) = client.embeddings.create(model="tiny", input=FOX).data
    (plain,) = client.embeddings.create(model="tiny", input=FOX, encoding_format="float").data
    assert packed.embedding == pytest.approx(plain.embedding, abs=1e-7)
    (last,) = client.embeddings.create(model="tiny", input=FOX, extra_body={"pooling": "last"}).data
    assert last.embedding != pytest.approx(packed.embedding, abs=1e-3)


def test_an_embedding_model_is_swapped_in_and_refuses_to_chat(client: openai.OpenAI) -> None:
    client.completions.create(model="tiny", prompt="a", max_tokens=1)
    answer = client.embeddings.create(model="bert", input=[FOX, FOX])
    assert answer.data[0].embedding == answer.data[1].embedding
    assert len(answer.data[0].embedding) == tiny_bert.WIDTH
    with pytest.raises(openai.BadRequestError, match="POST /v1/embeddings") as caught:
        client.chat.completions.create(model="bert", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.param == "model"
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="bert", input=["a", "a " * 100])
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input[1]")
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="bert", input="a", dimensions=8)
    assert caught.value.param == "dimensions"


@pytest.mark.parametrize("engine", ENGINES)
def test_introspection_agrees_with_generation(http: httpx.Client, engine: str) -> None:
    model = f"tiny@{engine}"
    prompt = http.post("/apply-template", json={"model": model, "messages": HI}).raise_for_status().json()["prompt"]
    tokens = http.post("/tokenize", json={"model": model, "content": prompt, "with_pieces": True}).json()["tokens"]
    assert "".join(token["piece"] for token in tokens) == prompt
    ids = [token["id"] for token in tokens]
    assert http.post("/detokenize", json={"tokens": ids}).json() == {"content": prompt}
    count = http.post("/v1/chat/completions/input_tokens", json={"model": model, "messages": HI}).json()
    chat = http.post("/v1/chat/completions", json={"model": model, "messages": HI, "max_tokens": 1}).json()
    assert count["input_tokens"] == chat["usage"]["prompt_tokens"]
    # What the user wrote of a control token is text in a prompt, and a control token in a text of its own.
    assert count["input_tokens"] > len(ids)
    props = http.get("/props").json()
    assert (props["model_alias"], props["total_slots"]) == ("tiny", 8)
    assert props["default_generation_settings"]["n_ctx"] == 512
    assert [slot["is_processing"] for slot in http.get("/slots").json()] == [False] * 8


def test_a_reranker_orders_documents_and_does_nothing_else(http: httpx.Client, client: openai.OpenAI) -> None:
    documents = ["a lazy dog", {"text": FOX}, "b"]
    body = {"model": "ranker", "query": "the fox", "documents": documents}
    whole = http.post("/v1/rerank", json=body).json()
    scores = [each["relevance_score"] for each in whole["results"]]
    assert scores == sorted(scores, reverse=True)
    assert (len(set(scores)), whole["mlxr"]["method"]) == (3, "rank")
    first = http.post("/rerank", json={**body, "top_n": 1, "return_documents": True}).json()
    index = whole["results"][0]["index"]
    assert first["results"] == [{**whole["results"][0], "document": {"text": ("a lazy dog", FOX, "b")[index]}}]
    assert first["usage"] == whole["usage"]
    assert http.get("/v1/models/ranker").json()["capabilities"] == ["rerank"]
    with pytest.raises(openai.BadRequestError, match="POST /v1/rerank"):
        client.chat.completions.create(model="ranker", messages=[{"role": "user", "content": "hi"}])
    with pytest.raises(openai.BadRequestError, match="POST /v1/rerank"):
        client.embeddings.create(model="ranker", input="a")
    refused = http.post("/v1/rerank", json={**body, "model": "bert"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")
    refused = http.post("/v1/rerank", json={**body, "documents": ["a", "a " * 100]})
    assert refused.json()["error"]["code"] == "context_length_exceeded"
    assert refused.json()["error"]["param"] == "documents[1]"
