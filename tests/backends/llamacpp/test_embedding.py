"""The encoder on raw models of the library: what is given up, and what a model says of itself."""

from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import pytest

from backends.llamacpp.embedding import LlamaCppEncoder, closing_ids
from backends.wire.request import Pooling
from tests.support import tiny_bert

IDS = [tiny_bert.CLS_ID, 5, 6, 7, 8, tiny_bert.SEP_ID]


@pytest.fixture
def bert(tmp_path: Path) -> Iterator[object]:
    path = tiny_bert.write_gguf(tmp_path / "bert.gguf")
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    yield model
    llama_cpp.llama_model_free(model)


@pytest.fixture
def decoder(tiny_gguf: Path) -> Iterator[object]:
    model = llama_cpp.llama_model_load_from_file(str(tiny_gguf).encode(), llama_cpp.llama_model_default_params())
    yield model
    llama_cpp.llama_model_free(model)


def test_a_text_ends_as_its_model_wants_it(bert: object, decoder: object) -> None:
    assert closing_ids(bert) == (tiny_bert.SEP_ID,)
    assert closing_ids(decoder) == ()


@pytest.mark.parametrize("is_whole", [True, False])
def test_an_input_that_was_given_up_leaves_nothing_behind(bert: object, decoder: object, *, is_whole: bool) -> None:
    model = bert if is_whole else decoder
    encoder = LlamaCppEncoder(
        model, Pooling.MEAN, len(IDS), is_whole=is_whole, is_exact=True, step_tokens=512, num_threads=1
    )
    encoder.start(IDS)
    expected = encoder.step(512, lambda: False)
    assert expected is not None
    encoder.start([9] * len(IDS))
    assert encoder.step(512, lambda: True) is None
    encoder.start(IDS)
    assert encoder.step(512, lambda: False) == expected
    encoder.close()
    encoder.close()
