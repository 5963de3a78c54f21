"""The fake engine's tokenizer: bytes, so that its texts are real text, and two control tokens with a template."""

import re
from typing import Final

from backends.tokenizer import InfillTokens, Tokenizer

NUM_BYTES: Final = 256
"""Ids of bytes; those above are control tokens."""
_IM_START = 256
IM_END: Final = 257
_CONTROL_TEXTS = {"<|im_start|>": _IM_START, "<|im_end|>": IM_END}
_CONTROLS = re.compile(r"(<\|im_start\|>|<\|im_end\|>)")
_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class FakeTokenizer(Tokenizer):
    """One token per byte, and two control tokens."""

    vocab_size = NUM_BYTES + len(_CONTROL_TEXTS)
    adds_bos = False
    bos_text = "<|im_start|>"
    eos_text = "<|im_end|>"
    chat_template: str | None = _TEMPLATE
    max_token_bytes = len("<|im_start|>")
    bos_id = _IM_START
    infill: InfillTokens | None = None
    end_ids = frozenset({IM_END})
    control_ids = _CONTROL_TEXTS

    def _encode(self, text: str, *, parse_control: bool) -> list[int]:
        if not parse_control:
            return list(text.encode())
        token_ids: list[int] = []
        for part in _CONTROLS.split(text):
            token_ids += [_CONTROL_TEXTS[part]] if part in _CONTROL_TEXTS else part.encode()
        return token_ids

    def _bytes_of(self, token_id: int) -> bytes:
        return bytes([token_id]) if token_id < NUM_BYTES else b""
