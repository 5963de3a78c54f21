"""KV caches of other types: they answer, and take less memory by the library's own account."""

import re
from pathlib import Path

import pytest

from backends.errors import LoadError
from backends.llamacpp.engine import LlamaCppEngine
from backends.llamacpp.library import LibraryLog
from backends.llamacpp.loaded import LoadedLlamaCpp
from backends.wire.load import LoadSpec
from registry.gguf.facts import facts_from_headers
from registry.gguf.header import read_header
from registry.settings import KVType
from router.placement.memory import this_machine
from router.placement.memory_need import memory_need
from tests.support.bare_engine import engine_of
from tests.support.engine_driver import GREEDY, EngineDriver, user_says

pytestmark = pytest.mark.slow

CONTEXT_LENGTH = 1024
QUESTION = "What is the capital of France? Answer in one short sentence."


class MeasuringLog(LibraryLog):
    """Adds up the size of the KV caches that are made, in MiB, by the library's own account."""

    cache_mib = 0.0

    def _on_log(self, level: int, text: bytes | None, _user_data: object) -> None:
        super()._on_log(level, text, _user_data)
        cache = re.search(rb"KV\s+buffer size\s*=\s*([\d.]+) MiB", text or b"")
        self.cache_mib += float(cache.group(1)) if cache is not None else 0.0


def load(path: Path, **options: object) -> tuple[LoadedLlamaCpp, float]:
    """Load a GGUF; return it, and the size of its cache in MiB by the library's own account."""
    engine = engine_of("llamacpp")
    assert isinstance(engine, LlamaCppEngine)
    engine._log = log = MeasuringLog()
    log.listen()
    spec = LoadSpec(model_path=str(path), context_length=CONTEXT_LENGTH, max_sequences=2, **options)  # type: ignore[arg-type]
    loaded = engine.load(spec, lambda _share: None)
    assert isinstance(loaded, LoadedLlamaCpp)
    return loaded, log.cache_mib


@pytest.mark.real_model
@pytest.mark.parametrize("kv_type", ["q8_0", "q4_0", "bf16", "q8_0/q4_0", "f16/q8_0"])
def test_a_cache_of_another_type_answers_and_has_the_size_that_was_estimated(
    bundled_gguf: Path, kv_type: KVType
) -> None:
    usual, usual_mib = load(bundled_gguf)
    usual.close()
    engine, cache_mib = load(bundled_gguf, kv_type=kv_type)
    settings = LoadSpec(model_path="", context_length=CONTEXT_LENGTH, max_sequences=2, kv_type=kv_type)
    need = memory_need(facts_from_headers([read_header(bundled_gguf)]), settings, this_machine())
    assert cache_mib == pytest.approx(need.kv_bytes / (1 << 20), abs=0.01)
    assert usual_mib == pytest.approx(22.5, abs=0.01)
    assert cache_mib < usual_mib or kv_type == "bf16"
    driver = EngineDriver(engine)
    text = driver.answer(user_says(QUESTION), GREEDY).text
    driver.close()
    engine.close()
    assert "Paris" in text


@pytest.mark.real_model
def test_quantized_values_without_flash_attention_are_refused_by_name(bundled_gguf: Path) -> None:
    with pytest.raises(LoadError, match=r"kv_type q8_0 needs flash attention.*set that to auto or on"):
        load(bundled_gguf, kv_type="q8_0", flash_attention="off")


@pytest.mark.real_model
def test_quantized_keys_do_without_flash_attention(bundled_gguf: Path) -> None:
    engine, cache_mib = load(bundled_gguf, kv_type="q8_0/f16", flash_attention="off")
    engine.close()
    assert cache_mib == pytest.approx(22.5 * (1 + 17 / 32) / 2, abs=0.01)


@pytest.mark.real_model
def test_a_cache_of_other_types_is_told_from_others_by_its_fingerprint(bundled_gguf: Path) -> None:
    prints = set()
    for kv_type in (None, "q8_0", "q8_0/q4_0", "q4_0/q8_0"):
        engine, _ = load(bundled_gguf, kv_type=kv_type)
        prints.add(engine.cache_fingerprint)
        engine.close()
    assert len(prints) == 4


def test_a_model_whose_heads_cannot_be_quantized_is_refused_with_a_way_out(tiny_gguf: Path) -> None:
    """The tiny model's heads are 16 wide, a block has 32."""
    with pytest.raises(LoadError, match=r"with a KV cache of type q4_0: .*kv_type f16 always works"):
        load(tiny_gguf, kv_type="q4_0")


@pytest.mark.parametrize("kv_type", ["f16", "f32"])
def test_float_types_load_on_any_model(tiny_gguf: Path, kv_type: str) -> None:
    engine, _ = load(tiny_gguf, kv_type=kv_type)
    driver = EngineDriver(engine)
    assert driver.answer(user_says("hi"), GREEDY, max_tokens=4).end.usage.num_output_tokens > 0
    driver.close()
    engine.close()


def test_an_unknown_type_is_refused(tiny_gguf: Path) -> None:
    with pytest.raises(LoadError, match="choose f32, f16, bf16, q8_0"):
        load(tiny_gguf, kv_type="q2")
