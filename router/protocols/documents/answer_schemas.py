"""Documents as the API shows them; the command line decodes them too."""

from typing import Literal

from msgspec import UNSET, UnsetType

from router.documents.kinds import Kind
from router.protocols.answers import AnswerBody, Deleted


class DocumentObject(AnswerBody, frozen=True, kw_only=True):
    """A document that was read; messages may name it by its id for a while.

    Attributes:
        markdown: What it says; "" = nothing that can be read.
        num_pages: Pages, slides or sheets.
        scanned_pages: Those that are pictures without text, from 1.
        num_tokens: As the model would be shown it, where one was named.
        context_length: Of that model, as it is loaded.
        notes: What is to be known of it, a sentence each.
    """

    id: str
    name: str
    kind: Kind
    markdown: str
    num_pages: int | None
    scanned_pages: list[int]
    num_chars: int
    is_truncated: bool
    notes: list[str]
    num_tokens: int | UnsetType = UNSET
    context_length: int | UnsetType = UNSET


class DeletedDocument(Deleted[Literal["document"]], frozen=True, kw_only=True):
    """A document that is forgotten; where a message has it already, it stays."""
