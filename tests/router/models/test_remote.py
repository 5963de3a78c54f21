"""Who serves, an engine of this machine or an upstream: the decision by its numbers."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.catalogue import Model
from registry.engines import EngineSetting
from registry.settings import LoadSettings
from router.config.schema import EngineFallback
from router.config.upstreams import UpstreamField
from router.errors import (
    EngineNotAvailableError,
    InvalidRequestError,
    ModelCannotSeeError,
    RouterError,
    UnsupportedFieldError,
    UpstreamNotAvailableError,
)
from router.models.engine_choice import choose
from router.models.model_request import ModelRequest
from router.models.offers import Offer
from router.models.remote import MAX_SHARE_OF_HERE, choose_anywhere
from router.models.size import RequestSize
from router.models.targets import Choice, EngineReason, Purpose
from tests.router.models.test_targets import BOTH, artifact, model

AUTO, MLX, LLAMACPP = EngineSetting.AUTO, EngineSetting.MLX, EngineSetting.LLAMACPP
BOX = EngineSetting("upstream:box")
HERE, THERE = model(*BOTH), model()
DOWN = "it is gone"


def offer(upstream: str = "box", **keys: Any) -> Offer:
    return Offer(upstream=upstream, model_id="M", **keys)


def chosen(
    known: Model,
    offers: Sequence[Offer],
    *,
    engine: EngineSetting | None = None,
    setting: EngineSetting = AUTO,
    fallback: EngineFallback | None = None,
    here_s: float | None = None,
    **request: Any,
) -> Choice:
    def here(requested: EngineSetting | None, word: EngineFallback | None) -> Choice:
        return choose(known, requested=requested, global_setting=setting, is_apple_silicon=False, fallback=word)

    return choose_anywhere(
        known,
        ModelRequest("m", engine, **request),
        offers,
        global_setting=setting,
        fallback=fallback,
        pick=lambda those: those[0],
        here=here,
        here_s=lambda _choice: here_s,
    )


def said(choice: Choice) -> tuple[str, EngineReason]:
    return str(choice.target.engine), choice.reason


def test_an_upstream_that_is_set_serves() -> None:
    assert said(chosen(HERE, [offer()], engine=BOX)) == ("upstream:box", EngineReason.REQUEST)
    assert said(chosen(HERE, [offer()], setting=BOX)) == ("upstream:box", EngineReason.GLOBAL_SETTING)
    assert said(chosen(model(*BOTH, engine=BOX), [offer()])) == ("upstream:box", EngineReason.MODEL_SETTING)
    with pytest.raises(UpstreamNotAvailableError, match="'m@upstream:other' or 'm@mlx'"):
        chosen(HERE, [offer("other")], engine=BOX)


def test_where_it_cannot_be_asked_the_word_of_the_config_counts() -> None:
    down = offer(why_not=DOWN)
    assert said(chosen(HERE, [down], engine=BOX)) == ("upstream:box", EngineReason.REQUEST), "it says itself why not"
    assert said(chosen(HERE, [down], setting=BOX)) == ("llamacpp", EngineReason.FALLBACK_UPSTREAM)
    assert said(chosen(HERE, [down], setting=BOX, fallback="refuse"))[0] == "upstream:box"
    both = [down, offer("other")]
    assert said(chosen(HERE, both, setting=BOX, fallback="upstream"))[0] == "upstream:other"
    assert said(chosen(HERE, both, setting=BOX, fallback="other"))[0] == "llamacpp"
    assert said(chosen(THERE, both, setting=BOX))[0] == "upstream:other"
    assert said(chosen(THERE, [down], setting=BOX))[0] == "upstream:box"


def test_a_model_without_files_here_is_asked_where_it_is() -> None:
    for setting in (AUTO, MLX, BOX):
        assert chosen(THERE, [offer()], setting=setting).target.is_remote
    assert said(chosen(THERE, [offer(why_not=DOWN), offer("other")]))[0] == "upstream:other"
    with pytest.raises(RouterError):
        chosen(THERE, [offer()], engine=MLX)
    assert said(chosen(THERE, [offer()], engine=MLX, fallback="upstream"))[1] is EngineReason.FALLBACK_NO_ARTIFACT


def test_an_upstream_serves_where_an_engine_here_cannot_if_the_config_says_so() -> None:
    gguf = model(artifact("llamacpp"))
    assert said(chosen(gguf, [offer()], engine=MLX, fallback="upstream"))[0] == "upstream:box"
    assert said(chosen(gguf, [offer(why_not=DOWN)], engine=MLX, fallback="upstream"))[0] == "llamacpp"
    assert said(chosen(gguf, [offer()], engine=MLX, fallback="other"))[0] == "llamacpp"
    with pytest.raises(EngineNotAvailableError):
        chosen(gguf, [offer()], engine=MLX)
    assert said(chosen(gguf, [offer()], engine=LLAMACPP, fallback="upstream"))[0] == "llamacpp"


def test_auto_takes_an_upstream_only_where_that_is_allowed_measured_and_much_quicker() -> None:
    size = RequestSize(100, 101)
    quick = offer(is_auto=True, first_token_s=0.5, token_s=0.01)
    assert said(chosen(HERE, [quick], here_s=10.0, size=size)) == ("upstream:box", EngineReason.AUTO_UPSTREAM)
    for choice in (
        chosen(HERE, [quick], here_s=1.6, size=size),
        chosen(HERE, [quick], here_s=None, size=size),
        chosen(HERE, [offer(is_auto=True)], here_s=10.0, size=size),
        chosen(HERE, [offer(first_token_s=0.0, token_s=0.0)], here_s=10.0, size=size),
        chosen(HERE, [offer(is_auto=True, first_token_s=0.0, token_s=0.0, why_not=DOWN)], here_s=10.0, size=size),
        chosen(HERE, [quick], engine=LLAMACPP, here_s=10.0, size=size),
        chosen(HERE, [quick], setting=LLAMACPP, here_s=10.0, size=size),
    ):
        assert str(choice.target.engine) == "llamacpp"


@given(st.floats(0, 20), st.floats(0.1, 20), st.booleans())
def test_nothing_goes_to_another_machine_for_less_than_a_fifth(there_s: float, here_s: float, is_auto: bool) -> None:  # noqa: FBT001
    found = chosen(HERE, [offer(is_auto=is_auto, first_token_s=there_s, token_s=0.0)], here_s=here_s)
    assert found.target.is_remote == (is_auto and there_s <= MAX_SHARE_OF_HERE * here_s)


@pytest.mark.parametrize(
    ("request_fields", "error", "words"),
    [
        ({"load": LoadSettings(context_length=4096)}, UnsupportedFieldError, "context_length"),
        ({"adapter": "fox"}, InvalidRequestError, "no adapters"),
        ({"worker_id": 3}, InvalidRequestError, "X-Mlxr-Worker"),
        ({"image_param": "messages[0]"}, ModelCannotSeeError, "takes none"),
        ({"purpose": Purpose.EMBED}, InvalidRequestError, "makes no embeddings"),
    ],
)
def test_what_cannot_be_passed_on_is_refused_by_name(
    request_fields: dict[str, Any], error: type[RouterError], words: str
) -> None:
    with pytest.raises(error, match=words):
        chosen(THERE, [offer()], **request_fields)


def test_of_several_one_that_can_do_what_is_asked_serves() -> None:
    sees = offer("sees", honours=frozenset({UpstreamField.IMAGES}))
    assert said(chosen(THERE, [offer(), sees], image_param="messages[0]"))[0] == "upstream:sees"
