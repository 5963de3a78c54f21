"""Answers about the loaded model from its tokenizer and its template, without a step of the engine."""

from typing import assert_never

from backends.errors import PromptError
from backends.prompting.intake import Intake
from backends.tokenizer import Tokenizer
from backends.wire.questions import (
    MAX_TEXT_BYTES,
    Answer,
    ApplyTemplate,
    CountTokens,
    Describe,
    Description,
    Detokenize,
    Text,
    TextQuestion,
    TokenCount,
    Tokenize,
    Tokens,
)


def answer_to(question: TextQuestion, tokenizer: Tokenizer, intake: Intake) -> Answer:
    """Return the answer to a question about the loaded model, from its tokenizer and template.

    Raises:
        ContextLengthError: The text is so long that it is not even tokenized.
        TemplateError: The chat template failed.
        PromptError: There is no chat template, the text is too long, ids are outside the vocabulary, or the prompt
            cannot be used.
    """
    match question:
        case Tokenize():
            return _tokens(question, tokenizer)
        case Detokenize(token_ids=token_ids):
            intake.check_ids(token_ids, "tokens")
            data = b"".join(map(tokenizer.shown_bytes, token_ids))
            return Text(data.decode(errors="replace"))
        case ApplyTemplate(prompt=chat):
            return Text(intake.renderer.render(chat).text)
        case CountTokens(prompt=prompt):
            return TokenCount(len(intake.prepare(prompt).token_ids))
        case Describe():
            return Description(tokenizer.chat_template, tokenizer.bos_text, tokenizer.eos_text)
        case _:
            assert_never(question)


def _tokens(question: Tokenize, tokenizer: Tokenizer) -> Tokens:
    num_bytes = len(question.text.encode())
    if num_bytes > MAX_TEXT_BYTES:
        raise PromptError(
            f"content: {num_bytes} bytes, but at most {MAX_TEXT_BYTES} are tokenized at a time; send the text in parts",
            param="content",
        )
    token_ids = tokenizer.encode(
        question.text,
        add_bos=question.add_special and tokenizer.adds_bos,
        parse_control=question.parse_special,
    )
    return Tokens(token_ids, list(map(tokenizer.shown_bytes, token_ids)) if question.with_pieces else None)
