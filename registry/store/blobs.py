"""Where the bytes of a checksum lie: files that a pull or an upload verified, and files that were hashed since.

Not here: whether they are still the same; who uses one compares size and time.
"""

from typing import NamedTuple

from registry.store.database import CatalogueDatabase


class BlobPlace(NamedTuple):
    """A file that had certain bytes.

    Attributes:
        path: Absolute.
    """

    path: str
    size_bytes: int
    mtime_ns: int


def places_of(session: CatalogueDatabase, sha256: str) -> tuple[BlobPlace, ...]:
    """List the files that had these bytes, those that were verified on arrival first.

    Args:
        sha256: 64 hex digits.
    """
    with session.read():
        rows = session.rows(
            "SELECT path, size_bytes, mtime_ns FROM pulled_files WHERE blob = ? UNION ALL "
            "SELECT path, size_bytes, mtime_ns FROM file_hashes WHERE sha256 = ? AND is_computed",
            f"sha256-{sha256}",
            sha256,
        )
    return tuple(BlobPlace(*row) for row in rows)
