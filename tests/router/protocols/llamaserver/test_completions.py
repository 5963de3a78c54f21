"""llama-server's own completions, infilling and embeddings over the fake fleet, in its shapes."""

import json
from typing import Any

import httpx
import pytest

from router.protocols.llamaserver.encoding import indented
from tests.support.fake_openai import FakeFront, with_front

PROMPT = {"model": "m", "prompt": "tell me", "n_predict": 8, "temperature": 0}

FIELDS = {
    "index",
    "content",
    "tokens",
    "id_slot",
    "stop",
    "model",
    "tokens_predicted",
    "tokens_evaluated",
    "generation_settings",
    "prompt",
    "has_new_line",
    "truncated",
    "stop_type",
    "stopping_word",
    "tokens_cached",
    "timings",
}


async def post(front: FakeFront, path: str, body: dict[str, Any], status: int = 200) -> Any:
    response = await front.client.post(path, json=body)
    assert response.status_code == status, response.text
    return response.json()


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.headers["content-type"].startswith("text/event-stream")
    return [
        json.loads(block.removeprefix("data: ")) for block in response.text.split("\n\n") if block.startswith("data")
    ]


@pytest.mark.parametrize("path", ["/completion", "/completions"])
@with_front()
async def test_a_completion_has_llama_servers_shape(front: FakeFront, path: str) -> None:
    body = await post(front, path, PROMPT)
    assert set(body) == FIELDS
    expected = (await post(front, "/v1/completions", {**OPENAI, "prompt": "tell me"}))["choices"][0]["text"]
    assert body["content"] == expected
    assert (body["index"], body["stop"], body["stop_type"], body["model"]) == (0, True, "limit", "m")
    assert (body["tokens_predicted"], body["tokens_evaluated"], body["tokens_cached"]) == (8, 7, 15)
    assert (body["prompt"], body["tokens"], body["truncated"]) == ("tell me", [], False)
    settings = body["generation_settings"]
    assert (settings["n_predict"], settings["temperature"], settings["seed"]) == (8, 0, 2**32 - 1)
    assert body["timings"]["predicted_n"] == 8


OPENAI = {"model": "m", "max_tokens": 8, "temperature": 0}


@with_front()
async def test_a_stream_is_texts_and_then_the_whole_without_its_text(front: FakeFront) -> None:
    whole = await post(front, "/completion", PROMPT)
    response = await front.client.post("/completion", json=PROMPT | {"stream": True})
    *chunks, last = events_of(response)
    assert "".join(chunk["content"] for chunk in chunks) == whole["content"]
    assert all(chunk["stop"] is False and chunk["tokens"] == [] for chunk in chunks)
    assert set(last) == FIELDS
    assert (last["content"], last["stop"], last["stop_type"]) == ("", True, "limit")
    assert last["tokens_predicted"] == 8
    assert b"[DONE]" not in response.content


@with_front()
async def test_several_prompts_and_choices_are_a_list(front: FakeFront) -> None:
    body = await post(front, "/completion", PROMPT | {"prompt": ["a", [98, 99], {"prompt_string": "d"}], "n_cmpl": 2})
    assert [each["index"] for each in body] == list(range(6))
    assert [each["prompt"] for each in body] == ["a", "a", "", "", "d", "d"]
    assert (await post(front, "/completion", PROMPT | {"prompt": [98, 99]}))["tokens_evaluated"] == 2


@with_front()
async def test_tokens_probabilities_and_single_fields_come_where_they_are_wanted(front: FakeFront) -> None:
    body = await post(front, "/completion", PROMPT | {"return_tokens": True, "n_probs": 2})
    assert bytes(body["tokens"]).decode() == body["content"]
    first = body["completion_probabilities"][0]
    assert first["token"] == body["content"][0]
    assert first["id"] == body["tokens"][0]
    assert len(first["top_logprobs"]) == 2
    assert set(first["top_logprobs"][0]) == {"id", "token", "bytes", "logprob"}
    streamed = events_of(await front.client.post("/completion", json=PROMPT | {"stream": True, "return_tokens": True}))
    assert [token for event in streamed[:-1] for token in event["tokens"]] == body["tokens"]
    assert "completion_probabilities" not in streamed[0]
    wanted = ["content", "timings/predicted_n", "generation_settings/n_predict", "nothing"]
    few = await post(front, "/completion", PROMPT | {"response_fields": wanted})
    assert few == {"content": body["content"], "timings/predicted_n": 8, "generation_settings/n_predict": 8}


@with_front()
async def test_how_an_answer_ended_is_said(front: FakeFront) -> None:
    text = (await post(front, "/completion", PROMPT))["content"]
    body = await post(front, "/completion", PROMPT | {"stop": [text[3:5]]})
    assert (body["content"], body["stop_type"], body["stopping_word"]) == (text[:3], "word", text[3:5])
    read_in = await post(front, "/completion", PROMPT | {"n_predict": 0})
    assert (read_in["content"], read_in["tokens_predicted"], read_in["tokens_evaluated"]) == ("", 0, 7)


@with_front()
async def test_progress_and_timings_come_with_the_events(front: FakeFront) -> None:
    body = PROMPT | {"stream": True, "return_progress": True, "timings_per_token": True}
    events = events_of(await front.client.post("/completion", json=body))
    assert any("prompt_progress" in event for event in events)
    assert all("timings" in event for event in events if event["content"])


@with_front()
async def test_what_editors_send_is_taken(front: FakeFront) -> None:
    """The fields of llama.vim and llama.vscode, with values as they send them."""
    body = PROMPT | {
        "id_slot": 0,
        "samplers": ["top_k", "top_p", "infill"],
        "top_k": 40,
        "top_p": 0.9,
        "n_indent": 0,
        "cache_prompt": True,
        "t_max_prompt_ms": 500,
        "t_max_predict_ms": 1000,
        "stream": False,
        "response_fields": ["content", "tokens_cached", "truncated", "timings/predicted_ms"],
    }
    response = await front.client.post("/completion", json=body)
    assert set(response.json()) == {"content", "tokens_cached", "truncated", "timings/predicted_ms"}
    assert response.headers["x-mlxr-ignored"] == "t_max_prompt_ms, t_max_predict_ms"
    warm_up = PROMPT | {"n_predict": 0, "samplers": [], "response_fields": [""]}
    assert await post(front, "/completion", warm_up) == {}


@with_front()
async def test_samplers_that_are_not_named_are_off(front: FakeFront) -> None:
    body = PROMPT | {"temperature": 0.5, "top_k": 7, "top_p": 0.5, "min_p": 0.2, "samplers": ["top_k"]}
    settings = (await post(front, "/completion", body))["generation_settings"]
    found = [settings[name] for name in ("temperature", "top_k", "top_p", "min_p")]
    assert found == [1.0, 7, 1.0, 0.0]
    settings = (await post(front, "/completion", body | {"samplers": "kt"}))["generation_settings"]
    assert [settings[name] for name in ("temperature", "top_k", "top_p")] == [0.5, 7, 1.0]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": {"prompt_string": "<__media__>", "multimodal_data": ["x"]}}, "prompt.multimodal_data[0]"),
        ({"mirostat": 2}, "mirostat"),
        ({"dry_multiplier": 0.8}, "dry_multiplier"),
        ({"n_predict": -2}, "n_predict"),
        ({"n_predict": 3, "max_tokens": 4}, "max_tokens"),
        ({"grammar": "root ::= (", "json_schema": {}}, "json_schema"),
        ({"n_indent": 4, "stream": True}, "n_indent"),
        ({"n_probs": 10_000}, "n_probs"),
        ({"samplers": ["lottery"]}, "samplers[0]"),
    ],
)
@with_front()
async def test_what_is_not_honoured_is_refused_by_name(front: FakeFront, change: dict[str, Any], param: str) -> None:
    error = (await post(front, "/completion", PROMPT | change, 400))["error"]
    assert error["param"] == param


@with_front()
async def test_infilling_is_refused_where_the_model_cannot(front: FakeFront) -> None:
    body = {
        "model": "m",
        "input_prefix": "def f(",
        "input_suffix": "):\n",
        "input_extra": [{"text": "a", "filename": "b"}],
    }
    error = (await post(front, "/infill", body, 400))["error"]
    assert "no tokens for infilling" in error["message"]
    assert (await post(front, "/infill", {"model": "m", "input_prefix": "a"}, 400))["error"]["param"] == "input_suffix"


@with_front()
async def test_embeddings_have_a_list_of_vectors_each(front: FakeFront) -> None:
    expected = (await post(front, "/v1/embeddings", {"model": "m", "input": ["a", "b"]}))["data"]
    for path, name in (("/embedding", "content"), ("/embeddings", "input")):
        body = await post(front, path, {"model": "m", name: ["a", "b"]})
        assert body == [{"index": each["index"], "embedding": [each["embedding"]]} for each in expected]
    error = (await post(front, "/embedding", {"model": "m"}, 400))["error"]
    assert error["param"] == "content"
    error = (await post(front, "/embedding", {"model": "m", "content": "a", "embd_normalize": 0}, 400))["error"]
    assert error["message"] == "embd_normalize: vectors have the length 1 here; send 2"


@with_front()
async def test_paths_without_a_version_are_those_with_one(front: FakeFront) -> None:
    chat = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3, "temperature": 0}
    plain, versioned = [
        (await post(front, path, chat))["choices"] for path in ("/chat/completions", "/v1/chat/completions")
    ]
    assert plain == versioned
    assert (await front.client.get("/models")).json() == (await front.client.get("/v1/models")).json()
    assert (await front.client.get("/v1/health")).json()["status"] == "ok"


@pytest.mark.parametrize(
    ("text", "num_indent", "expected"),
    [
        ("a\n    b\n    c\nd", 4, "a\n    b\n    c\n"),
        ("a\n    b\n  c\n    d", 4, "a\n    b\n  "),
        ("a\n    b", 4, "a\n    b"),
        ("a\n  ", 4, "a\n  "),
        ("  a", 4, "  a"),
        ("a\nb", 0, "a\nb"),
        ("a\n\tb\n\tc\nd", 1, "a\n\tb\n\tc\n"),
    ],
)
def test_a_text_ends_before_a_line_that_is_indented_less(text: str, num_indent: int, expected: str) -> None:
    assert indented(text, num_indent) == expected
