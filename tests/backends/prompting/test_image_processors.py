"""Prompts with pictures are, token by token and row by row, those that each family's own processor makes of them.

The processors are transformers', the tokenizer is a small one that has the special tokens of all families. Parts of the
processors that want PyTorch (videos, sounds) are left out of them.
"""

import importlib
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backends.images.processor import ImageProcessor
from backends.mlx.tokenizer import MLXTokenizer
from backends.prompting.intake import Intake, PreparedPrompt
from backends.row_ids import is_row
from backends.wire.load import LoadedModel
from backends.wire.prompts import ChatPrompt, ImagePart, PromptMessage, images_in
from tests.backends.images.families import PUBLISHED, folder_tower
from tests.support import image_files
from tests.support.image_templates import TEMPLATES, says
from tests.support.tiny_vision import vocabulary

pytestmark = pytest.mark.slow

PROCESSORS: dict[str, tuple[str, dict[str, Any]]] = {
    "idefics3": ("Idefics3Processor", {"image_seq_len": 64}),
    "qwen2_vl": ("Qwen2VLProcessor", {"video_processor": None}),
    "qwen2_5_vl": ("Qwen2_5_VLProcessor", {"video_processor": None}),
    "qwen3_vl": ("Qwen3VLProcessor", {"video_processor": None}),
    "gemma3": ("Gemma3Processor", {}),
    "gemma4": ("Gemma4Processor", {"video_processor": None, "feature_extractor": None}),
    "llava": (
        "LlavaProcessor",
        {"patch_size": 14, "vision_feature_select_strategy": "full", "num_additional_image_tokens": 0},
    ),
}
"""Class, and what it is made with."""
NAMED_TOKENS = {
    "idefics3": {"end_of_utterance_token": "<end_of_utterance>"},  # which the processor adds
    "gemma3": {
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>",
    },
    "gemma4": {"boi_token": "<|image>", "eoi_token": "<image|>", "image_token": "<|image|>"}
    | dict.fromkeys(("boa_token", "eoa_token", "audio_token", "video_token"), "<|im_end|>"),
    "llava": {"image_token": "<image>"},
}
ROW_TOKENS = {"gemma3": "<image_soft_token>", "gemma4": "<|image|>", "idefics3": "<image>", "llava": "<image>"}
WIDE, TALL, SMALL = (900, 500), (200, 420), (30, 40)


def picture(size: tuple[int, int]) -> bytes:
    rng = np.random.default_rng(size[0])
    return image_files.encoded(Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)), "PNG")


FILES = {size: picture(size) for size in (WIDE, TALL, SMALL)}


def photo(size: tuple[int, int]) -> ImagePart:
    return ImagePart(FILES[size], "picture")


CONVERSATIONS: dict[str, list[PromptMessage]] = {
    "text behind": [says("user", photo(WIDE), "What is it?")],
    "text before": [says("user", "Look at this:\n\n", photo(TALL))],
    "picture alone": [says("user", photo(SMALL))],
    "neighbours": [says("user", "two ", photo(SMALL), photo(TALL), "\n\nwhich is it?")],
    "turns": [
        says("user", "first\n", photo(SMALL)),
        says("assistant", "One."),
        says("user", photo(WIDE), " and then\n\n"),
        says("assistant", "Two."),
        says("user", "done"),
    ],
}


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_text(json.dumps(vocabulary.tokenizer_json()))
    return path


def hf_tokenizer(path: Path, family: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_file=str(path),
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        extra_special_tokens=NAMED_TOKENS.get(family, {}),
        chat_template=TEMPLATES[family],
    )


def processor_of(family: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    name, options = PROCESSORS[family]
    module = importlib.import_module(f"transformers.models.{family}.processing_{family}")
    kind = getattr(module, name)
    monkeypatch.setattr(kind, "check_argument_for_proper_class", lambda *_: None)
    part_of, image_kind = PUBLISHED[family].processor
    images = importlib.import_module(f"transformers.models.{part_of}.image_processing_pil_{part_of}")
    image_processor = getattr(images, image_kind)(**PUBLISHED[family].preprocessor)
    return kind(image_processor=image_processor, tokenizer=hf_tokenizer(path, family), **options)


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("family", PROCESSORS)
def test_tokens_and_rows_stand_where_transformers_has_them(
    family: str, conversation: str, tokenizer_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = ChatPrompt(CONVERSATIONS[conversation])
    prepared, text = prepare(family, prompt, tokenizer_file)
    pictures = [np.asarray(Image.open(io.BytesIO(part.data))) for part in images_in(prompt.messages)]
    out = processor_of(family, tokenizer_file, monkeypatch)(
        images=pictures, text=[text], return_tensors="np", input_data_format="channels_last"
    )
    row_token = vocabulary.token_id(ROW_TOKENS.get(family, "<|image_pad|>"))
    wanted = out["input_ids"][0].tolist()
    ids = [token_id if not is_row(token_id) else row_token for token_id in prepared.token_ids]
    assert ids == wanted
    places = [place for span in prepared.spans for place in range(span.start, span.end)]
    assert places == [place for place, token_id in enumerate(wanted) if token_id == row_token]


def prepare(family: str, prompt: ChatPrompt, path: Path) -> tuple[PreparedPrompt, str]:
    """Return the prompt, and the text that the family's processor is given for it."""
    tokenizer = MLXTokenizer(SimpleNamespace(_tokenizer=hf_tokenizer(path, family)), frozenset(), path.parent)
    tokenizer.adds_bos = False
    model = LoadedModel(
        context_length=20_000, max_sequences=1, kv_cells=1, vocab_size=tokenizer.vocab_size, devices=("none",)
    )
    processor = ImageProcessor(folder_tower(family), "weights")
    intake = Intake(tokenizer, model, processor.facts)
    images = {part: processor.prepare(part) for part in images_in(prompt.messages)}
    return intake.prepare(prompt, images), intake.renderer.render(prompt).text
