"""Read the header of a GGUF file on disk. Not here: the parsing, which needs no file."""

from pathlib import Path

from registry.errors import GGUFError
from registry.files import open_regular, pread_exact
from registry.gguf.header import GGUFHeader, parse_source
from registry.gguf.vocabularies import KnownVocabularies


def read_header(
    path: Path | str, *, vocabularies: KnownVocabularies | None = None, keeps_shapes: bool = False
) -> GGUFHeader:
    """Read and parse the header of one GGUF file; of a split set, of this file only.

    Args:
        vocabularies: Of the files before this one; makes the next with the same quicker.

    Raises:
        GGUFError: The header breaks a rule of the format or a limit.
        ArtifactError: There is no such file, or it is no regular file, or it cannot be read.
    """
    path = Path(path)
    with open_regular(path) as (fd, info):
        try:
            return parse_source(
                lambda offset, size: pread_exact(fd, size, offset),
                info.st_size,
                vocabularies=vocabularies,
                keeps_shapes=keeps_shapes,
            )
        except GGUFError as exc:
            exc.path = path
            raise
