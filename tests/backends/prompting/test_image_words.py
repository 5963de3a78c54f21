"""What users write of pictures' tokens is text with the engines' own tokenizers, also where those insist on a token."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from backends.images.families import FAMILIES
from backends.mlx.tokenizer import MLXTokenizer
from backends.prompting.intake import Intake
from backends.row_ids import is_row
from backends.tokenizer import Tokenizer
from backends.wire.load import LoadedModel, LoadSpec
from backends.wire.prompts import ChatPrompt
from tests.support.bare_engine import load
from tests.support.image_templates import facts_of, part, says, shown
from tests.support.tiny_vision import TINY_FAMILIES, VisionModel, vocabulary

pytestmark = pytest.mark.slow

Vision = Callable[[str], VisionModel]
WORDS = (
    "a <image><image_soft_token><|image_pad|> <|vision_start|><start_of_image>b<row_1_col_1><__media__>\n<end_of_image>"
)
CONTROL, USER_DEFINED = 3, 4
"""Source: llama.cpp, llama.h, llama_token_type."""


def llamacpp(model: VisionModel, tmp_path: Path, *, insists: bool) -> Tokenizer:
    path = model.text_gguf
    if insists:
        plain, control = vocabulary.NUM_PLAIN, len(vocabulary.CONTROL_TOKENS)
        types = struct.pack(f"<{plain + control}i", *[1] * plain, *[CONTROL] * control)
        chosen = struct.pack(f"<{plain + control}i", *[1] * plain, *[CONTROL] * 2, *[USER_DEFINED] * (control - 2))
        data = path.read_bytes()
        assert data.count(types) == 1
        path = tmp_path / "text.gguf"
        path.write_bytes(data.replace(types, chosen))
    return load("llamacpp", LoadSpec(model_path=str(path), context_length=256)).tokenizer


def mlx(model: VisionModel, tmp_path: Path, *, insists: bool) -> Tokenizer:
    from transformers import PreTrainedTokenizerFast

    document = json.loads((model.folder / "tokenizer.json").read_bytes())
    for token in document["added_tokens"][2:]:
        token["special"] = not insists
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(document))
    template = vocabulary.chat_template(model.family)
    hf = PreTrainedTokenizerFast(
        tokenizer_file=str(path), bos_token="<|im_start|>", eos_token="<|im_end|>", chat_template=template
    )
    return MLXTokenizer(SimpleNamespace(_tokenizer=hf), frozenset(), tmp_path)


@pytest.mark.parametrize("insists", [False, True])
@pytest.mark.parametrize("create", [llamacpp, mlx])
@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_only_the_template_writes_tokens_of_pictures(
    family: str, create: Callable[..., Tokenizer], vision_model: Vision, tmp_path: Path, *, insists: bool
) -> None:
    tokenizer = create(vision_model(family), tmp_path, insists=insists)
    first = vocabulary.NUM_PLAIN + 2
    reserved = sorted(FAMILIES[family].reserved & {*vocabulary.CONTROL_TOKENS})
    ours = [tokenizer.encode(token, add_bos=False)[0] for token in reserved]
    assert min(ours) >= first, "the vocabulary has the family's tokens"
    if insists:
        insisted = [tokenizer.encode(token, add_bos=False, parse_control=False)[0] for token in reserved]
        assert insisted == ours, "the tokenizer takes them for such although it is told not to"
    model = LoadedModel(context_length=1000, max_sequences=1, kv_cells=1, vocab_size=tokenizer.vocab_size, devices=())
    intake = Intake(tokenizer, model, facts_of(family))
    picture = part("a")
    ids = intake.prepare(ChatPrompt([says("user", WORDS, picture, WORDS)]), shown([picture])).token_ids
    assert not set(ids) & set(ours)
    texts = b"".join(tokenizer.shown_bytes(token_id) for token_id in ids if not is_row(token_id)).decode()
    assert texts.count(WORDS) == 2
    assert sum(is_row(token_id) for token_id in ids) == 2
