"""Chat templates that show pictures in each of the ways that models' own do, and pictures as prompts show them."""

import hashlib
from collections.abc import Sequence

import numpy as np

from backends.images.families import FAMILIES
from backends.images.prompt_image import ImageFacts, PromptImage
from backends.sequence import Grid, Tile
from backends.wire.prompts import ContentPart, ImagePart, PromptMessage, TextPart

_OPEN = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
QWEN = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n"
    "{% endif %}<|im_start|>{{ m.role }}\n{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}"
    "{% if c.type == 'image' or 'image' in c %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in c %}{{ c.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}" + _OPEN
)
"""Takes texts and lists of parts, from everybody."""
SMOLVLM = (
    "<|im_start|>{% for m in messages %}{{ m.role | capitalize }}{% if m.content[0].type == 'image' %}{{ ':' }}"
    "{% else %}{{ ': ' }}{% endif %}{% for c in m.content %}{% if c.type == 'text' %}{{ c.text }}"
    "{% elif c.type == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
"""Shows nothing of a content that is one text."""
LLAVA = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% for c in m.content | selectattr('type', 'equalto', "
    "'image') %}{{ '<image>\n' }}{% endfor %}{% for c in m.content | selectattr('type', 'equalto', 'text') %}"
    "{{ c.text }}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}" + _OPEN
)
"""Puts a message's pictures before its texts."""
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% if messages[0].content is string %}"
    "{% set prefix = messages[0].content + '\n\n' %}{% else %}{% set prefix = messages[0].content[0].text + '\n\n' %}"
    "{% endif %}{% set turns = messages[1:] %}{% else %}{% set prefix = '' %}{% set turns = messages %}{% endif %}"
    "{% for m in turns %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ prefix if loop.first else '' }}"
    "{% if m.content is string %}{{ m.content | trim }}{% else %}{% for c in m.content %}{% if c.type == 'image' %}"
    "{{ '<start_of_image>' }}{% elif c.type == 'text' %}{{ c.text | trim }}{% endif %}{% endfor %}{% endif %}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
"""Takes user and assistant by turns, and of a system message the first text only."""
STRINGS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}" + _OPEN
"""Knows texts only."""
TEMPLATES = {
    "qwen2_vl": QWEN,
    "qwen2_5_vl": QWEN,
    "qwen3_vl": QWEN,
    "idefics3": SMOLVLM,
    "llava": LLAVA,
    "gemma3": GEMMA,
    "gemma4": GEMMA.replace("<start_of_image>", "<|image|>"),
}


def facts_of(family: str) -> ImageFacts:
    """Return what a family's pictures have in common, as of models whose pictures are seen in one direction."""
    row = FAMILIES[family]
    return ImageFacts(row.written, row.reserved, is_whole=False)


def part(name: str) -> ImagePart:
    """Return a picture of a request; no file, where nothing is decoded."""
    return ImagePart(name.encode(), f"param of {name}")


def shown(parts: Sequence[ImagePart], *, num_rows: int = 2) -> dict[ImagePart, PromptImage]:
    """Return what is shown of each: rows between `(` and `)`."""
    pixels = np.zeros((1, 1, 3), np.uint8)
    images = {}
    for each in parts:
        tile = Tile(hashlib.sha256(each.data).digest(), pixels, Grid(1, num_rows))
        images[each] = PromptImage(("(", tile, ")"), (640, 480), (28, 14))
    return images


def says(role: str, *content: str | ImagePart) -> PromptMessage:
    """Return a message of texts and pictures."""
    parts: list[ContentPart] = [TextPart(each) if isinstance(each, str) else each for each in content]
    return {"role": role, "content": parts}
