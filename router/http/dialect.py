"""What errors look like to a client: one dialect per family of clients, chosen by the path of the request.

Each protocol declares its dialect; OpenAI's is here, because requests that no protocol knows get it. Pure. Not here:
statuses and headers (`error_response`).

Source: OpenAI API reference, "Errors".
"""

from collections.abc import Callable, Container, Mapping
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from router.http.error_table import ErrorRow, ErrorType


class ShownError(NamedTuple):
    """An error as any dialect may show it: its row in the one table, and a message that can be encoded."""

    error: BaseException
    row: ErrorRow
    message: str


class Dialect(msgspec.Struct, frozen=True):
    """How one family of clients reads errors.

    Attributes:
        name: In the API's document.
        shape: The Struct that `body` makes.
        statuses: Pairs of a status of the one table and the one that these clients get instead.
        chunk_head, chunk_tail: What stands around the body where the error is an event of a stream.
    """

    name: str
    shape: type[msgspec.Struct]
    body: Callable[[ShownError], msgspec.Struct]
    chunk_head: bytes = b"data: "
    chunk_tail: bytes = b"\n\n"
    statuses: tuple[tuple[int, int], ...] = ()

    def status(self, row: ErrorRow) -> int:
        """Return the status that an error of a row has."""
        return next((own for usual, own in self.statuses if usual == row.status), row.status)


class OpenAIErrorObject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wrong.

    Attributes:
        code: Stable; null where nothing more is known.
        n_prompt_tokens: Of a prompt that is too long; a lower bound where the message says "at least".
        n_ctx: Tokens that the context holds.
    """

    message: str
    type: ErrorType
    param: str | None
    code: str | None
    n_prompt_tokens: int | UnsetType = UNSET
    n_ctx: int | UnsetType = UNSET
    needed_bytes: int | UnsetType = UNSET
    available_bytes: int | UnsetType = UNSET


class OpenAIError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An error as OpenAI's clients read it."""

    error: OpenAIErrorObject


# Key of the error object -> attribute of an error. `n_prompt_tokens` and `n_ctx` are llama-server's names, which its
# clients read. A closed list, so that no attribute reaches a client by accident.
_DETAILS: Final[Mapping[str, str]] = {
    "n_prompt_tokens": "num_prompt_tokens",
    "n_ctx": "context_length",
    "needed_bytes": "needed_bytes",
    "available_bytes": "available_bytes",
}


def openai_error(shown: ShownError) -> OpenAIError:
    """Return OpenAI's error body."""
    param = getattr(shown.error, "param", None)
    details = {key: getattr(shown.error, attribute, None) for key, attribute in _DETAILS.items()}
    return OpenAIError(
        OpenAIErrorObject(
            message=shown.message,
            type=shown.row.type,
            param=None if param is None else printable(param),
            code=getattr(shown.error, "code", None),
            **{key: value for key, value in details.items() if isinstance(value, int)},
        )
    )


OPENAI: Final = Dialect("openai", OpenAIError, openai_error)


class Dialects:
    """Which dialect a path's clients read: that of the longest prefix, else OpenAI's.

    Args:
        by_prefix: A prefix holds for itself and for what lies below it: `/api` for `/api/chat`, not for `/apix`.
        by_header: For prefixes that several families of clients ask for: the header that one of them sends, and its
            dialect.
    """

    def __init__(
        self, by_prefix: Mapping[str, Dialect], by_header: Mapping[str, tuple[str, Dialect]] | None = None
    ) -> None:
        self._rows = sorted(by_prefix.items(), key=lambda row: -len(row[0]))
        self._by_header = by_header or {}

    def of(self, path: str, headers: Container[str] = ()) -> Dialect:
        """Return the dialect of a request's path, given without the query.

        Args:
            headers: Names of the request's, in lower case.
        """
        for prefix, (header, dialect) in self._by_header.items():
            if header in headers and _is_below(path, prefix):
                return dialect
        for prefix, dialect in self._rows:
            if _is_below(path, prefix):
                return dialect
        return OPENAI

    def all_of(self, path: str) -> tuple[Dialect, ...]:
        """Return the dialects that requests of a path may have, that of a request without any header first."""
        others = [dialect for prefix, (_, dialect) in self._by_header.items() if _is_below(path, prefix)]
        return self.of(path), *others


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


def printable(text: str) -> str:
    """Make any text encodable: what a client sent may hold lone surrogates, which UTF-8 cannot carry."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
