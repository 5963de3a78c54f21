"""The tokens of all tiny vision models: bytes, two merges, special tokens of every family; and their chat templates."""

from typing import Any, Final

from backends.images.families import FAMILIES
from tests.support.tiny_model import byte_characters

MERGES: Final = ("Ġ t", "Ċ Ċ")
CONTROL_TOKENS: Final = (
    "<|im_start|>",
    "<|im_end|>",
    "<image>",
    "<fake_token_around_image>",
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)),
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<start_of_image>",
    "<end_of_image>",
    "<image_soft_token>",
    "<|image>",
    "<image|>",
    "<|image|>",
)
VOCABULARY: Final = (*byte_characters(), "Ġt", "ĊĊ", *CONTROL_TOKENS)
NUM_PLAIN: Final = len(VOCABULARY) - len(CONTROL_TOKENS)
NUM_TOKENS: Final = len(VOCABULARY)


def token_id(text: str) -> int:
    return VOCABULARY.index(text)


BOS_ID: Final = token_id("<|im_start|>")
EOS_ID: Final = token_id("<|im_end|>")


def chat_template(family: str) -> str:
    """Return a template that walks typed content, as those of vision models do."""
    return (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for p in m['content'] %}"
        "{% if p['type'] == 'image' %}" + FAMILIES[family].written + "{% else %}{{ p['text'] }}{% endif %}{% endfor %}"
        "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def tokenizer_json() -> dict[str, Any]:
    """Return tokenizer.json."""
    is_as_written = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": token_id(token), "content": token, "special": True} | is_as_written for token in CONTROL_TOKENS
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {token: index for index, token in enumerate(VOCABULARY)},
            "merges": [merge.split(" ") for merge in MERGES],
        },
    }
