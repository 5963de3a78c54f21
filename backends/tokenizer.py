"""What the shared code asks of a model's tokenizer; each engine has its library's behind it."""

import abc
import functools
from collections.abc import Mapping
from typing import Final, NamedTuple

from backends.row_ids import is_row

_BEFORE_LABELS: Final = ("", " ", "\n")
"""What is put before a label to find the tokens that write it."""


class InfillTokens(NamedTuple):
    """Ids of the control tokens before the prefix, before the suffix, and before the middle that is to be written.

    Attributes:
        project_id: Before a project's name, or None.
        file_id: Before a file's name, or None.
    """

    prefix_id: int
    suffix_id: int
    middle_id: int
    project_id: int | None = None
    file_id: int | None = None


class Tokenizer(abc.ABC):
    """Text to token ids and back, with the facts that the shared code needs.

    Attributes:
        vocab_size: Number of token ids; valid ids are 0 <= id < vocab_size.
        adds_bos: Whether plain text is to start with the BOS token.
        bos_text: The BOS token as text, "" without one.
        eos_text: The EOS token as text, "" without one.
        chat_template: The model's own Jinja template, or None.
        bos_id: Id of the BOS token, or None.
        infill: The tokens that a prompt with a suffix is made of, or None where the model cannot infill.
    """

    vocab_size: int
    adds_bos: bool
    bos_text: str
    eos_text: str
    chat_template: str | None
    bos_id: int | None
    infill: InfillTokens | None

    @property
    @abc.abstractmethod
    def end_ids(self) -> frozenset[int]:
        """Ids that end an answer; perhaps none."""

    @property
    @abc.abstractmethod
    def control_ids(self) -> Mapping[str, int]:
        """Control tokens by their text, e.g. `{"<|im_end|>": 2}`; they add nothing to an answer's text."""

    @property
    @abc.abstractmethod
    def max_token_bytes(self) -> int:
        """At least the length of the longest token; bounds a text's tokens from below without tokenizing it."""

    def is_end(self, token_id: int) -> bool:
        """Tell whether a token ends an answer."""
        return token_id in self.end_ids

    def encode(self, text: str, *, add_bos: bool, parse_control: bool = True) -> list[int]:
        """Return the token ids of `text`.

        Args:
            add_bos: Whether the BOS token is put before it, where there is one: here and not by a library, so that both
                engines follow one rule.
            parse_control: Whether control tokens written in it become their ids, or are text like any other.
        """
        token_ids = self._encode(text, parse_control=parse_control)
        return [self.bos_id, *token_ids] if add_bos and self.bos_id is not None else token_ids

    def label_ids(self, label: str) -> tuple[int, ...]:
        """Return the tokens that write a label by themselves, with a space before it or without; perhaps none.

        Which of them a model writes hangs on what its template ends with. All places where a label may stand are
        tried, because libraries differ in what they make of a text's beginning.
        """
        found = {self.encode(f"{before}{label}", add_bos=False, parse_control=False)[-1] for before in _BEFORE_LABELS}
        return tuple(sorted(each for each in found if self.token_bytes(each).strip(b" ") == label.encode()))

    @abc.abstractmethod
    def _encode(self, text: str, *, parse_control: bool) -> list[int]:
        """Return token ids without BOS."""

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes that a token adds to the text; b"" for control tokens, and for the rows of pictures."""
        if is_row(token_id):
            return b""
        piece = self._pieces.get(token_id)
        if piece is None:
            piece = self._pieces[token_id] = self._bytes_of(token_id)
        return piece

    def shown_bytes(self, token_id: int) -> bytes:
        """Return the bytes that stand for a token where it is shown: also a control token's text."""
        return self.token_bytes(token_id) or self.control_text(token_id).encode()

    @functools.cached_property
    def _pieces(self) -> dict[int, bytes]:
        return {}

    @abc.abstractmethod
    def _bytes_of(self, token_id: int) -> bytes:
        """Return what `token_bytes` tells, which asks once for each token."""

    def control_text(self, token_id: int) -> str:
        """Return the text of a control token, "" for all other tokens."""
        return self._control_texts.get(token_id, "")

    @functools.cached_property
    def _control_texts(self) -> dict[int, str]:
        return {token_id: text for text, token_id in self.control_ids.items()}
