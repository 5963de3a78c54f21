"""The header X-Mlxr-Load counts in every protocol: no request that carries it is served otherwise."""

from typing import Any

import pytest

from backends.fake.engine import FakeOptions
from tests.support.fake_openai import FakeFront, with_front

HI = [{"role": "user", "content": "hi"}]
REQUESTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "m", "messages": HI, "max_tokens": 2},
    "/v1/completions": {"model": "m", "prompt": "hi", "max_tokens": 2},
    "/v1/responses": {"model": "m", "input": "hi", "max_output_tokens": 16},
    "/v1/messages": {"model": "m", "messages": HI, "max_tokens": 2},
    "/v1/embeddings": {"model": "m", "input": "hi"},
    "/v1/chat/completions/input_tokens": {"model": "m", "messages": HI},
    "/v1/responses/input_tokens": {"model": "m", "input": "hi"},
    "/v1/messages/count_tokens": {"model": "m", "messages": HI},
    "/api/chat": {"model": "m", "messages": HI, "stream": False, "options": {"num_predict": 2}},
    "/api/generate": {"model": "m", "prompt": "hi", "stream": False, "options": {"num_predict": 2}},
    "/api/embed": {"model": "m", "input": "hi"},
    "/tokenize": {"model": "m", "content": "hi"},
    "/detokenize": {"model": "m", "tokens": [1]},
    "/apply-template": {"model": "m", "messages": HI},
}


@pytest.mark.parametrize("path", REQUESTS)
@with_front(llamacpp=FakeOptions(answer_tokens=2))
async def test_the_model_is_loaded_as_the_header_says(front: FakeFront, *, path: str) -> None:
    headers = {"X-Mlxr-Load": "context_length=1234"}
    answer = await front.client.post(path, json=REQUESTS[path], headers=headers)
    assert answer.status_code == 200, answer.text
    (target,) = [worker.target for worker in front.supervisor.workers if worker.target is not None]
    assert target.load.context_length == 1234
    refused = await front.client.post(path, json=REQUESTS[path], headers={"X-Mlxr-Load": "context_length=none"})
    assert refused.status_code == 400
