"""Options: each honoured, or refused by its name."""

from typing import Any

import msgspec
import pytest

from registry.catalogue import Artifact
from registry.engines import EngineKind
from registry.settings import LoadSettings
from router.config import Config
from router.errors import UnsupportedFieldError
from router.http.ignored import noting_ignored
from router.models.defaults import RequestDefaults
from router.models.load_settings import AS_CONFIGURED
from router.protocols.control.capabilities import ENGINES
from router.protocols.fields.support import Support, fields_of
from router.protocols.ollama.requested_model import (
    check_options,
    requested_load,
)
from router.protocols.ollama.schemas import Options
from tests.registry.catalogue_builder import make_facts

CONFIG = Config()
FIELDS = fields_of(Options)
PENALIZED = RequestDefaults(repetition_penalty=1.1)
ASKING: dict[str, Any] = {
    "main_gpu": 1,
    "num_batch": 77,
    "use_mmap": not CONFIG.llamacpp.mmap,
    "use_mlock": True,
    "numa": True,
    "low_vram": True,
    "f16_kv": False,
    "vocab_only": True,
    "logits_all": True,
    "embedding_only": True,
    "draft_num_predict": 4,
    "mirostat": 1,
    "tfs_z": 0.5,
    "penalize_newline": False,
}
"""For every option that is refused on llamacpp, a value that asks for something."""


def options(**values: Any) -> Options:
    return msgspec.convert(values, Options)


def artifact(context_length: int) -> Artifact:
    return Artifact(
        id=1,
        model_name="m",
        format=make_facts().format,
        path="/m",
        files=("/m",),
        mmproj_path=None,
        size_bytes=1,
        mtime_ns=1,
        sha256=None,
        status="ok",
        reason=None,
        is_owned=False,
        facts=make_facts(context_length=context_length),
    )


def test_every_refused_option_is_tried_below() -> None:
    assert {path for path, row in FIELDS.items() if row.field.support is Support.REFUSED} == set(ASKING)


@pytest.mark.parametrize("name", ASKING)
def test_what_is_not_honoured_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(UnsupportedFieldError, match=f"options.{name} is not supported: ") as caught:
        check_options(options(**{name: ASKING[name]}), CONFIG, EngineKind.LLAMACPP, PENALIZED)
    assert caught.value.param == f"options.{name}"


def test_a_wish_for_speed_is_left_out_where_that_is_told() -> None:
    with noting_ignored("POST /api/chat") as noted:
        check_options(options(use_mlock=True, use_mmap=not CONFIG.llamacpp.mmap), CONFIG, EngineKind.LLAMACPP)
    assert noted.paths == ("options.use_mmap", "options.use_mlock")


@pytest.mark.parametrize("engine", ENGINES)
def test_null_asks_for_nothing(engine: EngineKind) -> None:
    check_options(options(**dict.fromkeys(Options.__struct_fields__)), CONFIG, engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_asks_for_nothing_passes(engine: EngineKind) -> None:
    for path, row in FIELDS.items():
        for value in row.field.on(engine).neutral:
            check_options(options(**{path: value}), CONFIG, engine)
    check_options(options(mirostat=0, mirostat_tau=5.0, mirostat_eta=0.1, num_keep=4, num_thread=0), CONFIG, engine)


def test_what_is_so_anyway_passes() -> None:
    check_options(
        options(use_mmap=CONFIG.llamacpp.mmap, num_batch=CONFIG.llamacpp.batch_tokens), CONFIG, EngineKind.LLAMACPP
    )
    check_options(options(num_batch=CONFIG.mlx.prefill_step_tokens), CONFIG, EngineKind.MLX)


def test_layers_on_a_gpu_are_a_matter_of_the_engine() -> None:
    for number in (-1, 0, 1, 99):
        check_options(options(num_gpu=number), CONFIG, EngineKind.LLAMACPP)
    for number in (-1, 1, 99):
        check_options(options(num_gpu=number), CONFIG, EngineKind.MLX)
    with pytest.raises(UnsupportedFieldError, match="whole model"):
        check_options(options(num_gpu=0), CONFIG, EngineKind.MLX)


def test_newlines_may_stay_out_of_penalties_that_are_off() -> None:
    no_penalty = {"repeat_penalty": 1.0, "presence_penalty": 0.0}
    for wanted in ({}, no_penalty, {"repeat_penalty": 1.3, "repeat_last_n": 0}):
        check_options(options(penalize_newline=False, **wanted), CONFIG, EngineKind.LLAMACPP)
    check_options(options(penalize_newline=False, **no_penalty), CONFIG, EngineKind.LLAMACPP, PENALIZED)
    for wanted, defaults in (({"presence_penalty": 1.0}, RequestDefaults()), ({}, PENALIZED)):
        with pytest.raises(UnsupportedFieldError, match="newlines"):
            check_options(options(penalize_newline=False, **wanted), CONFIG, EngineKind.LLAMACPP, defaults)


def test_threads_are_llamacpps() -> None:
    check_options(options(num_thread=3), CONFIG, EngineKind.LLAMACPP)
    with pytest.raises(UnsupportedFieldError, match=r"options\.num_thread.*mlx chooses"):
        check_options(options(num_thread=3), CONFIG, EngineKind.MLX)


def test_threads_load_anew_unless_it_is_so_anyway() -> None:
    load = requested_load(options(num_thread=3), CONFIG, AS_CONFIGURED)
    assert load == LoadSettings(threads=3)
    assert requested_load(options(num_thread=3), CONFIG, LoadSettings(threads=3)) == AS_CONFIGURED
    assert requested_load(options(num_thread=0), CONFIG, AS_CONFIGURED) == AS_CONFIGURED
