from backends.wire.load import LoadSpec
from router.http.error_table import row_for
from router.placement.fit import refusal
from router.placement.memory import Machine
from router.placement.memory_need import memory_need
from tests.router.placement.test_memory_need import GIB, facts

PC = Machine(has_metal=False, is_arm=False)


def test_a_load_that_fits_is_not_refused() -> None:
    assert refusal("m", facts(), LoadSpec(model_path=""), PC, available_bytes=64 * GIB) is None


def test_a_refusal_has_the_numbers_and_the_way_out() -> None:
    settings = LoadSpec(model_path="", context_length=32_768)
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
    error = refusal("big", facts(), LoadSpec(model_path=""), PC, available_bytes=GIB)
    assert error is not None
    assert "does not fit with any context" in str(error)
