"""The tokens of all tiny vision models: bytes, two merges, special tokens of every family; and their chat templates."""

from typing import Any, Final

from backends.images.families import FAMILIES
from tests.support import tiny_model

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
VOCABULARY: Final = (*tiny_model.byte_characters(), "Ġt", "ĊĊ", *CONTROL_TOKENS)
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
    return tiny_model.tokenizer_json(VOCABULARY, range(NUM_PLAIN, NUM_TOKENS), MERGES)
