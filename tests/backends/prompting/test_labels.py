"""Prompts whose answer is a label: no thinking comes before it, and a vocabulary that cannot write it is told."""

import pytest

from backends.errors import UnsupportedByModelError
from backends.fake.tokenizer import FakeTokenizer
from backends.output.formats import detect_format
from backends.prompting.intake import PreparedPrompt
from backends.prompting.labels import before_label, ids_of_labels
from backends.prompting.renderer import Rendered

THINKS = "{% for m in messages %}{{ m.content }}{% endfor %}<think></think>"
HARMONY = "<|start|>{{ messages[0].content }}<|channel|>analysis<|message|><|end|>{{ tools }}"


@pytest.mark.parametrize(
    ("template", "text", "expected"),
    [
        (THINKS, "hi<think>\n", "\n</think>\n\n"),
        (THINKS, "hi<think>\n\n</think>\n\n", ""),
        (THINKS, "hi", ""),
        ("{{ messages }}", "hi<think>\n", ""),
        (HARMONY, "<|start|>assistant", "<|channel|>final<|message|>"),
    ],
)
def test_a_prompt_ends_where_the_answer_begins(template: str, text: str, expected: str) -> None:
    tokenizer = FakeTokenizer()
    fmt = detect_format(template, {"<|channel|>": 1, "<|message|>": 2, "<|start|>": 3, "<|end|>": 4})
    prompt = PreparedPrompt([1, 2], Rendered(text, []))
    assert before_label(prompt, tokenizer, fmt).token_ids == [1, 2, *tokenizer.encode(expected, add_bos=False)]
    assert before_label(PreparedPrompt([1, 2]), tokenizer, fmt).token_ids == [1, 2]


def test_labels_are_single_tokens() -> None:
    assert ids_of_labels(("A", "B"), FakeTokenizer()) == ((65,), (66,))
    with pytest.raises(UnsupportedByModelError, match="'AB'"):
        ids_of_labels(("A", "AB"), FakeTokenizer())
