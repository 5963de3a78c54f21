"""A picture by each protocol, over the fake engine: what is shown, what the answer says of it, how it is counted."""

from typing import Any

import pytest

from tests.support.fake_openai import FakeFront, with_front
from tests.support.seeing_model import SEEING, add_seeing_model, as_base64, chat_part, data_uri, photo

PHOTO = photo()
TEXT = {"type": "text", "text": "What is it?"}
CHAT = {"messages": [{"role": "user", "content": [TEXT, chat_part(PHOTO)]}], "max_tokens": 4}
RESPONSE = {
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is it?"},
                {"type": "input_image", "image_url": data_uri(PHOTO)},
            ],
        }
    ],
    "max_output_tokens": 4,
}
BLOCK = {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": as_base64(PHOTO)}}
MESSAGES = {"messages": [{"role": "user", "content": [BLOCK, TEXT]}], "max_tokens": 4}
OLLAMA_CHAT = {
    "messages": [{"role": "user", "content": "What is it?", "images": [as_base64(PHOTO)]}],
    "options": {"num_predict": 4},
    "stream": False,
}
OLLAMA_TEXT = {"prompt": "What is it?", "images": [data_uri(PHOTO)], "options": {"num_predict": 4}, "stream": False}
NATIVE = {
    "prompt": {"prompt_string": "A<__media__>What is it?", "multimodal_data": [as_base64(PHOTO)]},
    "n_predict": 4,
}
ASKED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", CHAT),
    ("/v1/responses", RESPONSE),
    ("/v1/messages", MESSAGES),
    ("/api/chat", OLLAMA_CHAT),
    ("/api/generate", OLLAMA_TEXT),
    ("/completion", NATIVE),
]
NUM_ROWS = 256
"""Of every picture that Gemma 3 is shown."""


def count_of(answer: dict[str, Any]) -> int:
    """Return the tokens of an answer's prompt, by whatever name."""
    usage = answer.get("usage") or answer
    if "cache_read_input_tokens" in usage:
        return int(usage["input_tokens"]) + int(usage["cache_read_input_tokens"])
    names = ("prompt_tokens", "input_tokens", "prompt_eval_count", "tokens_evaluated")
    return next(int(usage[name]) for name in names if name in usage)


@pytest.mark.parametrize(("path", "body"), ASKED, ids=[path for path, _ in ASKED])
@with_front()
async def test_an_answer_says_what_was_seen(front: FakeFront, *, path: str, body: dict[str, Any]) -> None:
    add_seeing_model(front.registry)
    for is_cached in (False, True):
        response = await front.client.post(path, json={"model": SEEING, **body})
        assert response.status_code == 200, response.text
        answer = response.json()
        (seen,) = answer["mlxr"]["images"]
        assert (seen["original"], seen["tokens"], seen["cached"]) == ([90, 60], NUM_ROWS, is_cached)
        assert count_of(answer) > NUM_ROWS
    assert "x-mlxr-ignored" not in response.headers
