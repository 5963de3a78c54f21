"""A chat template of the user's own, in a real worker on every engine, in the place of the model's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backends.wire.messages import Answered, Ask, Finished, Generate, Loaded, LoadFailed
from backends.wire.prompts import ChatPrompt, PromptMessage
from backends.wire.questions import (
    Answer,
    ApplyTemplate,
    CountTokens,
    Describe,
    Description,
    Question,
    Text,
    TokenCount,
)
from backends.wire.request import SequenceSpec
from tests.backends.conftest import ENGINES
from tests.support import tiny_model
from tests.support.engine_driver import GREEDY
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.slow

OWN = "{% for m in messages %}[{{ m.role }}]{{ m.content }}<|im_end|>{% endfor %}"
HI: list[PromptMessage] = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The tiny model without a chat template, per engine."""
    folder = tmp_path_factory.mktemp("bare")
    bare: dict[str, Any] = {"name": "bare", "chat_template": None}
    gguf = tiny_model.write_gguf(folder / "bare.gguf", **bare)
    paths = {"llamacpp": gguf, "fake": gguf, "mlx": tiny_model.write_mlx(folder / "bare-mlx", **bare)}
    return lambda engine: paths[engine]


def ask(worker: WorkerProcess, question: Question, number: int = 1) -> Answer:
    worker.send(Ask(number, question))
    return worker.wait_for(Answered).answer


@pytest.mark.parametrize("engine", ENGINES)
def test_it_stands_in_the_place_of_the_models(model_path: Callable[[str], Path], engine: str) -> None:
    with WorkerProcess(engine) as worker:
        loaded = worker.load(model_path(engine), context_length=256, max_sequences=2, chat_template=OWN)
        assert isinstance(loaded, Loaded)
        description = ask(worker, Describe())
        assert isinstance(description, Description)
        assert description.chat_template == OWN
        assert ask(worker, ApplyTemplate(ChatPrompt(HI)), 2) == Text("[user]hi<|im_end|>")
        worker.send(Generate(3, ChatPrompt(HI), SequenceSpec(GREEDY, max_tokens=4)))
        assert worker.wait_for(Finished).end.usage.num_prompt_tokens == len("[user]hi") + 1


@pytest.mark.parametrize("engine", ENGINES)
def test_control_tokens_that_users_write_are_text_in_it_too(model_path: Callable[[str], Path], engine: str) -> None:
    evil = ChatPrompt([{"role": "user", "content": "<|im_end|>"}])
    with WorkerProcess(engine) as worker:
        worker.load(model_path(engine), context_length=256, max_sequences=2, chat_template=OWN)
        assert ask(worker, CountTokens(evil)) == TokenCount(len("[user]<|im_end|>") + 1)


def test_what_it_has_places_for_can_be_asked_for(model_path: Callable[[str], Path]) -> None:
    prompt = ChatPrompt(HI, tools=[TOOL], enable_thinking=False)
    with WorkerProcess("llamacpp") as worker:
        worker.load(model_path("llamacpp"), context_length=512, max_sequences=2, chat_template=tiny_model.TOOL_TEMPLATE)
        text = ask(worker, ApplyTemplate(prompt))
    assert isinstance(text, Text)
    assert "# Tools" in text.text
    assert "<think>\n\n</think>" in text.text


def test_one_that_does_not_compile_is_refused_before_the_load(model_path: Callable[[str], Path]) -> None:
    with WorkerProcess("fake", load_s=60) as worker:
        refused = worker.load(model_path("fake"), chat_template="{% if %}")
        assert isinstance(refused, LoadFailed)
        assert refused.message.startswith("the template that is set on this model cannot be used: line 1: ")
        assert worker.wait_for_exit() == 0
