"""Pictures through unmodified clients, to a model that really tells colours (`tests.support.colour_model`).

A client's request is the same prompt for either engine, so one client asks both, and the others the quicker one; what
mlx's says of pictures is in `tests/backends/process/test_seeing_worker.py`.
"""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import anthropic
import ollama
import openai
import pytest
from PIL import Image

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.support.colour_model import QUESTIONS, painted
from tests.support.gateway_process import GatewayProcess
from tests.support.python_clients import PythonClients
from tests.support.tiny_vision.model import VisionModel

pytestmark = pytest.mark.slow
MODEL: Final = "colours@llamacpp"
ONE: Final = QUESTIONS[0]
FOUR: Final = QUESTIONS[2]
JSON: Final = QUESTIONS[3]
COLOURS_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"colours": {"type": "array", "items": {"type": "string"}, "minItems": 4, "maxItems": 4}},
    "required": ["colours"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, colour_model: VisionModel) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("seeing")
    for name, file in (("colours.gguf", colour_model.text_gguf), ("mmproj-colours-f32.gguf", colour_model.projector)):
        (folder / name).symlink_to(file)
    paths = Paths.under(folder / "home")
    paths.ensure_folders()
    with Registry(paths.registry_db) as registry:
        register_path(registry, folder / "colours.gguf", name="colours")
        register_path(registry, colour_model.folder, name="colours")
    process = GatewayProcess(folder / "home")
    yield process
    process.stop()


def png(*quarters: str) -> str:
    """Return a picture in base64."""
    buffer = io.BytesIO()
    Image.fromarray(painted(*quarters)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def uri(*quarters: str) -> str:
    return f"data:image/png;base64,{png(*quarters)}"


def question(before: str, after: str, *quarters: str) -> Any:
    """Return a user's message of a chat."""
    image = {"type": "image_url", "image_url": {"url": uri(*quarters)}}
    return {
        "role": "user",
        "content": [{"type": "text", "text": before}, image, {"type": "text", "text": after}],
    }


@pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
def test_openais_client_streamed_and_whole(gateway: GatewayProcess, engine: str) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        begun = {"role": "assistant", "content": FOUR.start}
        common: dict[str, Any] = {
            "model": f"colours@{engine}",
            "messages": [question(FOUR.before, FOUR.after, *FOUR.quarters), begun],
            "temperature": 0,
            "max_tokens": FOUR.num_tokens,
            "extra_body": {"continue_final_message": True},
        }
        whole = client.chat.completions.create(**common)
        text = whole.choices[0].message.content
        assert text is not None
        assert text.startswith(FOUR.answer)
        (seen,) = (whole.model_extra or {})["mlxr"]["images"]
        assert (seen["original"], seen["seen"], seen["tokens"]) == ([64, 64], [16, 16], 4)
        chunks = list(client.chat.completions.create(**common, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text


def test_openais_client_by_a_schema(gateway: GatewayProcess) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        asked = question(JSON.before, JSON.after, *JSON.quarters)
        form: Any = {"type": "json_schema", "json_schema": {"name": "colours", "schema": COLOURS_SCHEMA}}
        formed = client.chat.completions.create(
            model=MODEL,
            messages=[asked],
            temperature=0,
            max_tokens=60,
            response_format=form,
        )
        assert json.loads(formed.choices[0].message.content or "")["colours"] == list(JSON.quarters)


def test_a_picture_is_seen_in_the_third_turn(gateway: GatewayProcess) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        previous = None
        for text in ("Hello.", "Name a fruit."):
            answer = client.responses.create(
                model=MODEL, input=text, temperature=0, max_output_tokens=2, previous_response_id=previous
            )
            previous = answer.id
        parts: Any = [
            {"type": "input_text", "text": ONE.before},
            {"type": "input_image", "image_url": uri(*["blue"] * 4), "detail": "auto"},
            {"type": "input_text", "text": ONE.after},
        ]
        answer = client.responses.create(
            model=MODEL,
            input=[{"role": "user", "content": parts}],
            temperature=0,
            max_output_tokens=18,
            previous_response_id=previous,
        )
        assert "blue" in answer.output_text
        assert "red" not in answer.output_text


def test_anthropics_client(gateway: GatewayProcess) -> None:
    with anthropic.Anthropic(base_url=gateway.url, api_key="none", max_retries=0) as client:
        for colour in ("red", "blue"):
            source = {"type": "base64", "media_type": "image/png", "data": png(*[colour] * 4)}
            parts: Any = [
                {"type": "text", "text": ONE.before},
                {"type": "image", "source": source},
                {"type": "text", "text": ONE.after},
            ]
            turns: Any = [{"role": "user", "content": parts}, {"role": "assistant", "content": ONE.start}]
            common: Any = {"model": MODEL, "messages": turns}
            said: Any = {"max_tokens": 3, "extra_body": {"temperature": 0}}
            answer = client.messages.create(**common, **said)
            assert answer.content[0].type == "text"
            assert answer.content[0].text.startswith(f" {colour}.")
            usage = answer.usage
            counted = client.messages.count_tokens(**common).input_tokens
            assert counted == usage.input_tokens + (usage.cache_read_input_tokens or 0)
            with client.messages.stream(**common, **said) as stream:
                assert stream.get_final_text() == answer.content[0].text


def test_ollamas_client(gateway: GatewayProcess, tmp_path: Path) -> None:
    with ollama.Client(host=gateway.url, trust_env=False) as client:
        options = ollama.Options(temperature=0, num_predict=18)
        few = ollama.Options(temperature=0, num_predict=ONE.num_tokens)
        for colour in ("red", "blue"):
            file = tmp_path / f"{colour}.png"
            file.write_bytes(base64.b64decode(png(*[colour] * 4)))
            asked = ollama.Message(role="user", content=ONE.before + ONE.after, images=[ollama.Image(value=file)])
            begun = ollama.Message(role="assistant", content=ONE.start)
            chat = client.chat(MODEL, [asked, begun], options=few)
            assert (chat.message.content or "").startswith(f" {colour}.")
            text = client.generate(MODEL, ONE.before + ONE.after, images=[file.read_bytes()], options=options)
            assert colour in text.response
        assert "vision" in [str(each) for each in client.show("colours").capabilities or []]


def test_litellm(gateway: GatewayProcess, python_clients: PythonClients) -> None:
    asked = [f"{gateway.url}/v1", MODEL, uri(*["blue"] * 4), ONE.before, ONE.after]
    results = python_clients.results_of("litellm_image_client.py", *asked)
    assert "blue" in results["text"]
    assert results["image_tokens"] == 4
