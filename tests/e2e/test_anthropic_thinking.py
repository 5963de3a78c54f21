"""Thinking blocks for the unmodified Anthropic Python client, from a model that opens its answers with thinking."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic.types import MessageParam, TextBlock, ThinkingBlock

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.support import tiny_model
from tests.support.gateway_process import GatewayProcess

ENGINES = pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}"
    "{{ m.content or '' }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n"
    "{% else %}{{ '<think>\n' }}{% endif %}"
)
FOX: list[MessageParam] = [{"role": "user", "content": "Say hello to the fox."}]
ADAPTIVE: Any = {"max_tokens": 12, "thinking": {"type": "adaptive"}, "extra_body": {"temperature": 0}}


@pytest.fixture(scope="module")
def client(
    tmp_path_factory: pytest.TempPathFactory, make_home: Callable[[Path], Path]
) -> Iterator[anthropic.Anthropic]:
    home = make_home(tmp_path_factory.mktemp("thinker") / "home")
    options: dict[str, Any] = {"chat_template": TEMPLATE, "context_length": 4096}
    with Registry(Paths.under(home).registry_db) as registry:
        register_path(registry, tiny_model.write_gguf(home / "thinker.gguf", name="thinker", **options), name="thinker")
        register_path(registry, tiny_model.write_mlx(home / "thinker-mlx", name="thinker", **options), name="thinker")
    gateway = GatewayProcess(home)
    with anthropic.Anthropic(base_url=gateway.url, api_key="none", max_retries=0) as client:
        yield client
    assert gateway.stop() == 0


@ENGINES
def test_thinking_is_a_block_with_a_signature_streamed_and_whole(client: anthropic.Anthropic, engine: str) -> None:
    model = f"thinker@{engine}"
    whole = client.messages.create(model=model, messages=FOX, **ADAPTIVE)
    with client.messages.stream(model=model, messages=FOX, **ADAPTIVE) as stream:
        shown = "".join(event.thinking for event in stream if event.type == "thinking")
        streamed = stream.get_final_message()
    (block,) = whole.content
    assert isinstance(block, ThinkingBlock)
    assert block.thinking == shown != ""
    assert block.signature.startswith("mlxr:")
    assert streamed.content == whole.content
    details = whole.usage.output_tokens_details
    assert details is not None
    assert details.thinking_tokens == whole.usage.output_tokens == 12


def test_hidden_thinking_keeps_its_signature(client: anthropic.Anthropic) -> None:
    whole = client.messages.create(model="thinker@llamacpp", messages=FOX, **ADAPTIVE)
    hidden = client.messages.create(
        model="thinker@llamacpp", messages=FOX, **ADAPTIVE | {"thinking": {"type": "adaptive", "display": "omitted"}}
    )
    (block,), (empty,) = whole.content, hidden.content
    assert isinstance(block, ThinkingBlock)
    assert isinstance(empty, ThinkingBlock)
    assert (empty.thinking, empty.signature) == ("", block.signature)


@ENGINES
def test_thinking_is_taken_back_and_read_from_the_cache(client: anthropic.Anthropic, engine: str) -> None:
    model = f"thinker@{engine}"
    first = client.messages.create(model=model, messages=FOX, **ADAPTIVE)
    prompt = first.usage.input_tokens + (first.usage.cache_read_input_tokens or 0)
    turns: list[MessageParam] = [
        *FOX,
        {"role": "assistant", "content": [*first.content, {"type": "text", "text": "Hello, fox."}]},
        {"role": "user", "content": "Again."},
    ]
    second = client.messages.create(model=model, messages=turns, **ADAPTIVE)
    # Some of the thinking as well; the tiny model writes bytes that are no text, which come back as others.
    assert (second.usage.cache_read_input_tokens or 0) >= prompt


@pytest.mark.parametrize("fields", [{}, {"thinking": {"type": "disabled"}}])
def test_without_thinking_there_is_text_only(client: anthropic.Anthropic, fields: Any) -> None:
    message = client.messages.create(model="thinker", max_tokens=8, messages=FOX, **fields)
    assert [type(block) for block in message.content] == [TextBlock]


def test_a_budget_is_a_target_and_must_fit(client: anthropic.Anthropic) -> None:
    budget: Any = {"type": "enabled", "budget_tokens": 1024}
    message = client.messages.create(
        model="thinker", max_tokens=1100, messages=FOX, thinking=budget, stop_sequences=["e", "a", "\n", "o"]
    )
    assert message.content == [] or isinstance(message.content[0], ThinkingBlock)
    with pytest.raises(anthropic.BadRequestError, match=r"thinking\.budget_tokens"):
        client.messages.create(model="thinker", max_tokens=1024, messages=FOX, thinking=budget)


def test_an_answer_cannot_be_begun_for_a_model_that_thinks_first(client: anthropic.Anthropic) -> None:
    begun: list[MessageParam] = [*FOX, {"role": "assistant", "content": "Hello"}]
    message = client.messages.create(model="thinker", max_tokens=4, messages=begun)
    assert isinstance(message.content[0], TextBlock)
    with pytest.raises(anthropic.BadRequestError, match="thinking"):
        client.messages.create(
            model="thinker", max_tokens=1100, messages=begun, thinking={"type": "enabled", "budget_tokens": 1024}
        )


def test_thinking_that_nobody_can_switch_on_is_let_go(client: anthropic.Anthropic) -> None:
    """`tiny` knows nothing of thinking, and coding agents ask every model for it."""
    message = client.messages.create(model="tiny", messages=FOX, output_config={"effort": "high"}, **ADAPTIVE)
    assert [type(block) for block in message.content] == [TextBlock]
