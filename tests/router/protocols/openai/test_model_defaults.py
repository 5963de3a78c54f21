"""What a model's settings do to requests for it: the request's own field, then the model's, then the config's."""

from typing import Any

import msgspec
import pytest

from backends.wire.prompts import ChatPrompt, PromptMessage
from registry.engines import EngineKind
from registry.sampling import RecommendedSampling
from registry.settings import MAX_STOPS, ModelSettings, PresetMessage
from router.config import GenerationConfig
from router.errors import InvalidRequestError
from router.models.defaults import RequestDefaults
from router.models.model_request import ModelRequest
from router.protocols.choice import ChosenModel
from router.protocols.openai.request import generation_for
from router.protocols.openai.schemas import ChatRequest, CompletionRequest
from router.requests.headers import RequestHeaders
from router.requests.request import GenerationRequest

CONFIG = GenerationConfig(temperature=0.7, top_p=0.9, top_k=40, min_p=0.05, max_tokens=99)
EVERYTHING: dict[str, Any] = {
    "temperature": 0.2,
    "top_p": 0.5,
    "top_k": 7,
    "min_p": 0.25,
    "repetition_penalty": 1.25,
    "seed": 5,
    "max_tokens": 12,
}
HI = {"role": "user", "content": "hi"}


def complete(settings: dict[str, Any], **body: Any) -> GenerationRequest:
    request = msgspec.convert({"model": "m", "prompt": "p"} | body, CompletionRequest)
    defaults = RequestDefaults.of(CONFIG, ModelSettings(**settings))
    return generation_for(request, ChosenModel(ModelRequest("m"), EngineKind.MLX, defaults), RequestHeaders())


def messages_of(settings: dict[str, Any], *messages: dict[str, Any]) -> list[PromptMessage]:
    request = msgspec.convert({"model": "m", "messages": list(messages)}, ChatRequest)
    defaults = RequestDefaults.of(CONFIG, ModelSettings(**settings))
    (prompt,) = generation_for(
        request, ChosenModel(ModelRequest("m"), EngineKind.MLX, defaults), RequestHeaders()
    ).prompts
    assert isinstance(prompt, ChatPrompt)
    return prompt.messages


def value_of(request: GenerationRequest, name: str) -> Any:
    return request.spec.max_tokens if name == "max_tokens" else getattr(request.spec.sampling, name)


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_a_models_setting_goes_before_the_config_and_the_request_before_both(name: str) -> None:
    of_config = {"repetition_penalty": 1.0, "seed": None}.get(name, getattr(CONFIG, name, None))
    assert value_of(complete({}), name) == of_config
    assert value_of(complete({name: EVERYTHING[name]}), name) == EVERYTHING[name]
    own: Any = 3 if isinstance(EVERYTHING[name], int) else 0.75
    assert value_of(complete({name: EVERYTHING[name]}, **{name: own}), name) == own


RECOMMENDED = RecommendedSampling(source="generation_config.json", temperature=0.3, top_k=11, repetition_penalty=1.5)


@pytest.mark.parametrize(
    ("in_config", "on_model", "expected"),
    [
        (True, {}, (0.3, 11, 0.9, 1.5)),
        (True, {"temperature": 0.2, "repetition_penalty": 1}, (0.2, 11, 0.9, 1)),
        (True, {"recommended_sampling": False}, (0.7, 40, 0.9, 1)),
        (False, {}, (0.7, 40, 0.9, 1)),
        (False, {"recommended_sampling": True}, (0.3, 11, 0.9, 1.5)),
    ],
)
def test_the_makers_recommendation_stands_between_the_models_settings_and_the_config(
    *, in_config: bool, on_model: dict[str, Any], expected: tuple[float, ...]
) -> None:
    config = msgspec.structs.replace(CONFIG, recommended_sampling=in_config)
    defaults = RequestDefaults.of(config, ModelSettings(**on_model), RECOMMENDED)
    assert (defaults.temperature, defaults.top_k, defaults.top_p, defaults.repetition_penalty) == expected


def test_zero_and_off_in_a_request_go_before_the_models_setting_too() -> None:
    request = complete(EVERYTHING, temperature=0, top_k=0, min_p=0, repetition_penalty=1)
    sampling = request.spec.sampling
    assert (sampling.temperature, sampling.top_k, sampling.min_p, sampling.repetition_penalty) == (0, None, 0, 1)
    assert complete(EVERYTHING, repeat_last_n=0).spec.sampling.repetition_penalty == 1.0


def test_each_answer_to_a_prompt_has_its_own_seed_after_the_models() -> None:
    assert complete({"seed": 2**63 - 1}).spec.sampling.seed == (2**63 - 1) % (2**32 - 1)


@pytest.mark.parametrize(
    ("own", "expected"), [(None, ("###",)), ([], ("###",)), ("a", ("a", "###")), (["###", "b"], ("###", "b"))]
)
def test_a_models_stop_texts_are_added_to_the_requests_own(own: Any, expected: tuple[str, ...]) -> None:
    assert complete({"stop": ("###",)}, stop=own).spec.stop == expected


def test_together_there_are_no_more_stop_texts_than_a_request_may_have() -> None:
    own = [f"s{number}" for number in range(MAX_STOPS)]
    assert len(complete({"stop": ("s3",)}, stop=own).spec.stop) == MAX_STOPS
    with pytest.raises(InvalidRequestError, match="at most 16 texts with the 1 that are set on the model") as refused:
        complete({"stop": ("###",)}, stop=own)
    assert refused.value.param == "stop"


def test_a_models_system_prompt_goes_before_a_conversation_without_one() -> None:
    assert messages_of({"system": "Be brief."}, HI) == [{"role": "system", "content": "Be brief."}, HI]
    assert messages_of({}, HI) == [HI]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_conversation_with_a_system_prompt_keeps_its_own(role: str) -> None:
    system = {"role": "system", "content": "Mine."}
    assert messages_of({"system": "Be brief."}, system | {"role": role}, HI) == [system, HI]
    assert messages_of({"system": "Be brief."}, HI, system | {"role": role}) == [HI, system]


def test_a_preset_conversation_stands_between_the_system_prompt_and_the_request() -> None:
    preset = [{"role": "user", "content": "Ping"}, {"role": "assistant", "content": "Pong"}]
    said = (PresetMessage("user", "Ping"), PresetMessage("assistant", "Pong"))
    model = {"role": "system", "content": "Be brief."}
    own = {"role": "system", "content": "Mine."}
    assert messages_of({"messages": said}, HI) == [*preset, HI]
    assert messages_of({"messages": said, "system": "Be brief."}, HI) == [model, *preset, HI]
    assert messages_of({"messages": said, "system": "Be brief."}, own, HI) == [own, *preset, HI]
    assert messages_of({"messages": (PresetMessage("system", "Be brief."), *said)}, own, HI) == [own, *preset, HI]
