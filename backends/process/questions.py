"""Answers about the loaded model and about what is kept for it, without a step of the engine."""

import os
from pathlib import Path
from typing import assert_never

from backends.batching.runner import BatchRunner
from backends.errors import PromptError
from backends.machine.current import current_platform
from backends.prompting.intake import Intake
from backends.tile_cache import TileCache
from backends.tokenizer import Tokenizer
from backends.wire.questions import (
    MAX_TEXT_BYTES,
    Answer,
    ApplyTemplate,
    CountTexts,
    CountTokens,
    Describe,
    Description,
    Detokenize,
    EraseCache,
    GiveBackMemory,
    GivenBack,
    Question,
    RestoreCache,
    SaveCache,
    Text,
    TextCounts,
    TextQuestion,
    TokenCount,
    Tokenize,
    Tokens,
)


class Questions:
    """Answers them for one loaded model.

    Args:
        batch: Has the caches that are asked about.
        slot_files_dir: Where clients have caches of this artifact saved, or None.

    Attributes:
        is_memory_short: What was said of the machine's memory last.
    """

    def __init__(
        self, tokenizer: Tokenizer, intake: Intake, batch: BatchRunner, tiles: TileCache, slot_files_dir: Path | None
    ) -> None:
        self.is_memory_short = False
        self._tokenizer = tokenizer
        self._intake = intake
        self._batch = batch
        self._tiles = tiles
        self._slot_files_dir = slot_files_dir

    def answer_to(self, question: Question) -> Answer:
        """Return the answer.

        Raises:
            EngineError: A cache cannot be written.
            PromptError: Caches are not saved here, or a file cannot be used; else as in `_answer_to_text`.
        """
        match question:
            case SaveCache(sequence_id=sequence_id, file_name=name, owner=owner):
                return self._batch.save_file(sequence_id, self._slot_file(name, owner), owner)
            case RestoreCache(file_name=name, owner=owner):
                return self._batch.read_file(self._slot_file(name, owner), owner)
            case EraseCache(sequence_id=sequence_id, owner=owner):
                return self._batch.erase(sequence_id, owner)
            case GiveBackMemory():
                return self._give_back(question)
            case _:
                return _answer_to_text(question, self._tokenizer, self._intake)

    def _give_back(self, wish: GiveBackMemory) -> GivenBack:
        """Give back what is kept for reuse, and measure what came of it."""
        self.is_memory_short = wish.is_short
        system = current_platform()
        before = system.footprint_of(os.getpid())
        if wish.dropped_share >= 1:
            self._tiles.clear()
        num_caches = self._batch.give_back(wish.dropped_share)
        system.give_back_free_memory()
        after = system.footprint_of(os.getpid())
        freed_bytes = 0 if before is None or after is None else before.rss_bytes - after.rss_bytes
        return GivenBack(num_caches, freed_bytes)

    def _slot_file(self, name: str, owner: str | None) -> Path:
        if self._slot_files_dir is None:
            raise PromptError("filename: caches are not saved here", param="filename")
        return self._slot_files_dir / name if owner is None else self._slot_files_dir / owner / name


def _answer_to_text(question: TextQuestion, tokenizer: Tokenizer, intake: Intake) -> Answer:
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
        case CountTexts(texts=texts):
            _check_bytes(texts)
            return TextCounts([len(tokenizer.encode(text, add_bos=False, parse_control=False)) for text in texts])
        case Describe():
            return Description(tokenizer.chat_template, tokenizer.bos_text, tokenizer.eos_text)
        case _:
            assert_never(question)


def _tokens(question: Tokenize, tokenizer: Tokenizer) -> Tokens:
    _check_bytes([question.text])
    token_ids = tokenizer.encode(
        question.text,
        add_bos=question.add_special and tokenizer.adds_bos,
        parse_control=question.parse_special,
    )
    return Tokens(token_ids, list(map(tokenizer.shown_bytes, token_ids)) if question.with_pieces else None)


def _check_bytes(texts: list[str]) -> None:
    """Refuse more than is tokenized between two steps."""
    num_bytes = sum(len(text.encode()) for text in texts)
    if num_bytes > MAX_TEXT_BYTES:
        raise PromptError(
            f"content: {num_bytes} bytes, but at most {MAX_TEXT_BYTES} are tokenized at a time; send the text in parts",
            param="content",
        )
