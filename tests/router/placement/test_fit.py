import pytest

from registry.engines import EngineKind
from registry.memory_fit import FitSettings, Machine, memory_need
from router.config import Config
from router.http.error_table import row_for
from router.placement.fit import fit_settings_for, refusal
from tests.registry.test_memory_fit import GIB, facts

PC = Machine(has_metal=False, is_arm=False)


def test_a_load_that_fits_is_not_refused() -> None:
    assert refusal("m", facts(), FitSettings(), PC, available_bytes=64 * GIB) is None


def test_a_refusal_has_the_numbers_and_the_way_out() -> None:
    settings = FitSettings(context_length=32_768)
    error = refusal("big", facts(), settings, PC, available_bytes=5 * GIB, reclaimable_bytes=GIB, unloading=["small"])
    assert error is not None
    row = row_for(type(error))
    assert row is not None
    assert (row.status, error.code) == (503, "insufficient_memory")
    need = memory_need(facts(), settings, PC)
    assert (error.needed_bytes, error.available_bytes) == (need.required_bytes, 6 * GIB)
    text = str(error)
    assert f"needs {need.required_bytes / 1e9:.2f} GB" in text
    assert "weights 4.29 GB, KV cache 4.29 GB" in text
    assert "6.44 GB would be free after unloading 'small'" in text
    assert "A context of " in text
    assert "quantized KV cache" in text


def test_when_no_context_fits_a_smaller_model_is_the_way_out() -> None:
    error = refusal("big", facts(), FitSettings(), PC, available_bytes=GIB)
    assert error is not None
    assert "does not fit with any context" in str(error)


@pytest.mark.parametrize("engine", EngineKind)
def test_the_configs_values_are_those_of_the_load(engine: EngineKind) -> None:
    config = Config()
    settings = fit_settings_for(config, engine)
    assert settings.context_length == config.generation.context_length
    assert settings.parallel == config.generation.parallel
    assert settings.step_tokens == (config.llamacpp.batch_tokens if engine is EngineKind.LLAMACPP else None)
