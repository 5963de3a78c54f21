"""Answers that are one of some labels: what the prompt ends with then, and which tokens write each label."""

import msgspec

from backends.errors import UnsupportedByModelError
from backends.output.formats import OutputFormat
from backends.output.grammar import answer_beginning
from backends.prompting.intake import PreparedPrompt
from backends.tokenizer import Tokenizer


def before_label(prompt: PreparedPrompt, tokenizer: Tokenizer, fmt: OutputFormat) -> PreparedPrompt:
    """Return a prompt that ends where the answer itself begins: thinking that the template has begun is over."""
    if prompt.rendered is None:
        return prompt
    text = answer_beginning(fmt, fmt.thinking_after(prompt.rendered.text))
    token_ids = tokenizer.encode(text, add_bos=False) if text else []
    return msgspec.structs.replace(prompt, token_ids=[*prompt.token_ids, *token_ids])


def ids_of_labels(labels: tuple[str, ...], tokenizer: Tokenizer) -> tuple[tuple[int, ...], ...]:
    """Return the tokens that write each label.

    Raises:
        UnsupportedByModelError: There is a label that no single token writes.
    """
    found = tuple(map(tokenizer.label_ids, labels))
    for label, token_ids in zip(labels, found, strict=True):
        if not token_ids:
            raise UnsupportedByModelError(
                f"model: no token of this model's vocabulary writes the label {label!r} by itself, so that it cannot "
                "answer by labels; take another model",
                param="model",
            )
    return found
