"""Documents named on the command line, read by the server and quoted in front of a question."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from msgspec import UNSET

from router.cli.client.base import Client
from router.cli.terminal.context import CommandError
from router.cli.terminal.output import plural, shown
from router.documents.quoting import quoted_document, shown_text
from router.errors import DocumentError
from router.protocols.documents.answer_schemas import DocumentObject

TIMEOUT_S: Final = 600.0
"""For one, the load of the model that counts its tokens included."""
_MAX_BYTES: Final = 1 << 30
"""Of a file that is read at all: a device has no end."""


def quoted_documents(client: Client, paths: Sequence[Path], model: str) -> list[str]:
    """Have documents read, say on stderr what they take of the model's context, and give them as a model is shown them.

    Raises:
        ClientError: The server cannot read one.
        CommandError: A file cannot be read, or has no text.
    """
    quoted = []
    for path in paths:
        query = f"?name={quote(path.name, safe='')}&model={quote(model, safe='')}"
        document = client.post_bytes(f"/v1/mlxr/documents{query}", DocumentObject, _bytes_of(path), TIMEOUT_S)
        print(f"mlxr: {about(document)}", file=sys.stderr)
        try:
            text = shown_text(
                document.name,
                document.markdown,
                is_truncated=document.is_truncated,
                scanned=document.scanned_pages,
            )
        except DocumentError as exc:
            raise CommandError(f"{shown(exc)}.") from exc
        quoted.append(quoted_document(document.name, text))
    return quoted


def about(document: DocumentObject) -> str:
    """Write what a document is and takes on one line.

    Returns:
        E.g. `report.pdf: 3 pages, 5,210 characters, 1,403 tokens (17% of the context). Page 2 is without text.`
    """
    parts = []
    if document.num_pages is not None:
        noun = {"pptx": "slide", "xlsx": "sheet", "ods": "sheet", "xls": "sheet"}.get(document.kind, "page")
        parts.append(plural(document.num_pages, noun))
    parts.append(f"{document.num_chars:,} characters")
    if document.num_tokens is not UNSET:
        share = ""
        if document.context_length is not UNSET:
            share = f" ({document.num_tokens / document.context_length:.0%} of the context)"
        parts.append(f"{document.num_tokens:,} tokens{share}")
    return " ".join([f"{shown(document.name)}: {', '.join(parts)}.", *map(shown, document.notes)])


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as exc:
        raise CommandError(f"{shown(str(path))} cannot be read: {exc.strerror or exc}.", exit_code=2) from exc
    if len(data) > _MAX_BYTES:
        raise CommandError(f"{shown(str(path))} is larger than {_MAX_BYTES >> 20} MiB.", exit_code=2)
    return data
