"""Pictures to a model that cannot see, by each protocol: refused in the question, said in words behind it."""

from typing import Any

import msgspec
import pytest

from router.config.images import ImagesConfig
from tests.router.protocols.images.test_all_protocols import ASKED, BLOCK, PHOTO, TEXT
from tests.support.fake_openai import FakeFront, with_front
from tests.support.seeing_model import SEEING, add_seeing_model, as_base64, chat_part, data_uri

PARAMS = {
    "/v1/chat/completions": "messages[0].content[1].image_url",
    "/v1/responses": "input[0].content[1].image_url",
    "/v1/messages": "messages[0].content[0].source.data",
    "/api/chat": "messages[0].images[0]",
    "/api/generate": "images[0]",
    "/completion": "prompt.multimodal_data[0]",
}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
TOOL_USE = {"type": "tool_use", "id": "c1", "name": "look", "input": {}}
HISTORIES: list[tuple[str, dict[str, Any], str]] = [
    (
        "/v1/chat/completions",
        {
            "messages": [
                {"role": "user", "content": [TEXT, chat_part(PHOTO)]},
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": [chat_part(PHOTO)]},
                {"role": "user", "content": "And now?"},
            ]
        },
        "messages[].content[].type=image_url",
    ),
    (
        "/v1/responses",
        {
            "input": [
                {"role": "user", "content": "look"},
                {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
                {
                    "type": "function_call_output",
                    "call_id": "c1",
                    "output": [{"type": "input_image", "image_url": data_uri(PHOTO)}],
                },
            ]
        },
        "input[].output[].type=input_image",
    ),
    (
        "/v1/messages",
        {
            "max_tokens": 4,
            "messages": [
                {"role": "user", "content": "look"},
                {"role": "assistant", "content": [TOOL_USE]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [BLOCK]}]},
            ],
        },
        "messages[].content[].content[].type=image",
    ),
    (
        "/api/chat",
        {
            "stream": False,
            "messages": [
                {"role": "user", "content": "look", "images": [as_base64(PHOTO)]},
                {"role": "assistant", "content": "A dog."},
                {"role": "user", "content": "Sure?"},
            ],
        },
        "messages[].images[].type=image",
    ),
]


@with_front()
async def test_a_question_names_its_field_and_a_model_that_sees(front: FakeFront) -> None:
    add_seeing_model(front.registry)
    for path, body in ASKED:
        response = await front.client.post(path, json={"model": "m", **body})
        assert response.status_code == 400, (path, response.text)
        assert PARAMS[path] in response.text
        assert f"'{SEEING}'" in response.text
    assert front.fleet.num_launches == {"mlx": 0, "llamacpp": 0}, "nothing was loaded for it"


@pytest.mark.parametrize(("path", "body", "told"), HISTORIES, ids=[path for path, *_ in HISTORIES])
@with_front()
async def test_what_lies_behind_is_said_in_words_and_told(
    front: FakeFront, *, path: str, body: dict[str, Any], told: str
) -> None:
    response = await front.client.post(path, json={"model": "m", **body})
    assert response.status_code == 200, response.text
    assert response.headers["x-mlxr-ignored"] == told
    strict = await front.client.post(path, json={"model": "m", **body}, headers={"x-mlxr-strict": "true"})
    assert strict.status_code == 400
    config = front.fleet.current_config.config
    front.fleet.set_config(msgspec.structs.replace(config, images=ImagesConfig(in_history="refuse")))
    refused = await front.client.post(path, json={"model": "m", **body, "seed": 1})
    assert refused.status_code == 400
